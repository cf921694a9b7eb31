//! What other threads want of the network thread. Who posts the first of it wakes that thread.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::messages::Command;
use super::socket::Waker;

/// Commands to the network thread.
pub(super) struct Mailbox {
    commands: Mutex<VecDeque<Command>>,
    waker: Waker,
}

impl Mailbox {
    pub fn new(waker: Waker) -> Self {
        Self {
            commands: Mutex::default(),
            waker,
        }
    }

    pub fn post(&self, command: Command) {
        let mut commands = self.commands.lock().unwrap_or_else(|e| e.into_inner());
        let first = commands.is_empty();
        commands.push_back(command);
        drop(commands);
        if first {
            self.waker.wake();
        }
    }

    pub fn take(&self) -> VecDeque<Command> {
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(|e| e.into_inner()))
    }
}
