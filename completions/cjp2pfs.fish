# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_cjp2pfs_global_optspecs
    string join \n v/verbose config= h/help V/version
end

function __fish_cjp2pfs_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_cjp2pfs_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_cjp2pfs_using_subcommand
    set -l cmd (__fish_cjp2pfs_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -s V -l version -d 'Print version'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "mount" -d 'Mount the network at a folder'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "umount" -d 'Unmount the folder and wait until its daemon has ended'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "seed" -d 'Hash files and folders and serve them from where they lie'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "unseed" -d 'Serve files and folders no longer'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "get" -d 'Fetch content into a file'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "hash" -d 'Print the hashes of files as sha256sum or b3sum does'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "status" -d 'Show what the daemon of the store is doing'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "peers" -d 'Show the peers that the daemon of the store knows'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "recent" -d 'Show what the peers say that they have, the latest named first'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "explain" -d 'Tell why content is not here yet: which bytes, which peers, what they answered'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "publish" -d 'Publish a file or folder under a name that can stand for something else later'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "unpublish" -d 'Publish nothing under a name any more'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "ls" -d 'List the content that is held: how much of it, when it was used, whether it is pinned'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "pin" -d 'Never give up this content, be it held now or later'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "unpin" -d 'Let this content be given up again when room is needed'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "gc" -d 'Give up content until the limits are kept, and what is of no use to anybody'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "verify" -d 'Read complete content once more and compare it with its hash'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "import" -d 'Put files into the store, by sharing their blocks or the file itself where that can be'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "doctor" -d 'Check the store and this machine, and tell what is in force'
complete -c cjp2pfs -n "__fish_cjp2pfs_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l complete -d 'Whether content that is being read is fetched to its end in the background [default: auto]' -r -f -a "auto\t'When it is read from its start onward'
always\t'As soon as it is read at all'
never\t'Never'"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l uid -d 'Become this user first, by number; only for root [default: stay who one is]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l gid -d 'Become a member of this group only, by number [default: the group of --uid]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l bind -d 'Listen on this UDP address; a taken port is replaced by a free one [default: [::]:24254]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l peer -d 'Ask this peer; may be given several times' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l cache -d 'Keep at most this much content in memory, as in 64MiB or 1G [default: 256MiB]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l store-limit -d 'Let the store take at most this much of the disk, as in 500GiB; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l min-free -d 'Give up content when less than this is free on the disk; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l upload-limit -d 'Send others at most this much a second, as in 500K or 1.5MiB; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l upload-limit-per-address -d 'Send each IP address at most this much a second; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l download-limit -d 'Fetch at most this much a second, as it travels; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l lookup-timeout -d 'Give up after this long when nobody has the content, as in 5s or 500ms [default: 5s]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l read-timeout -d 'Give up after this long when those who have it do not send it [default: 30s]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l verify -d 'How much is given out of content that is not proven yet [default: auto]' -r -f -a "auto\t'The parts that are read, and never all of it'
strict\t'Nothing: a read waits until the whole is here and proven, up to the read limit'"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -s f -l foreground -d 'Stay in the foreground'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l allow-other -d 'Let other users read the mount (needs user_allow_other in /etc/fuse.conf, except for root)'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l exec -d 'Let programs on the mount be run; they come from strangers'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l no-passthrough -d 'Answer every read, also where the kernel could read a complete file in the store by itself'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l no-bootstrap -d 'Do not ask the well-known nodes for peers'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -l no-lan -d 'Do not look for neighbours on the local network'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand mount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand umount" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand umount" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand umount" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand umount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l uid -d 'Become this user first, by number; only for root [default: stay who one is]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l gid -d 'Become a member of this group only, by number [default: the group of --uid]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l bind -d 'Listen on this UDP address; a taken port is replaced by a free one [default: [::]:24254]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l peer -d 'Ask this peer; may be given several times' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l cache -d 'Keep at most this much content in memory, as in 64MiB or 1G [default: 256MiB]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l store-limit -d 'Let the store take at most this much of the disk, as in 500GiB; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l min-free -d 'Give up content when less than this is free on the disk; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l upload-limit -d 'Send others at most this much a second, as in 500K or 1.5MiB; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l upload-limit-per-address -d 'Send each IP address at most this much a second; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l download-limit -d 'Fetch at most this much a second, as it travels; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l lookup-timeout -d 'Give up after this long when nobody has the content, as in 5s or 500ms [default: 5s]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l read-timeout -d 'Give up after this long when those who have it do not send it [default: 30s]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l verify -d 'How much is given out of content that is not proven yet [default: auto]' -r -f -a "auto\t'The parts that are read, and never all of it'
strict\t'Nothing: a read waits until the whole is here and proven, up to the read limit'"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l once -d 'Serve the files as they are now, only until the daemon ends'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l no-bootstrap -d 'Do not ask the well-known nodes for peers'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -l no-lan -d 'Do not look for neighbours on the local network'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand seed" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unseed" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unseed" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unseed" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unseed" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -s o -l output -d 'Write to FILE; - is standard output [default: the hash, in the current folder]' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l blocks -d 'Verify each block of 256 KiB as it comes by this list, whose SHA-256 is LIST' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l bind -d 'Listen on this UDP address; a taken port is replaced by a free one [default: [::]:24254]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l peer -d 'Ask this peer; may be given several times' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l cache -d 'Keep at most this much content in memory, as in 64MiB or 1G [default: 256MiB]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l store-limit -d 'Let the store take at most this much of the disk, as in 500GiB; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l min-free -d 'Give up content when less than this is free on the disk; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l upload-limit -d 'Send others at most this much a second, as in 500K or 1.5MiB; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l upload-limit-per-address -d 'Send each IP address at most this much a second; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l download-limit -d 'Fetch at most this much a second, as it travels; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l lookup-timeout -d 'Give up after this long when nobody has the content, as in 5s or 500ms [default: 5s]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l read-timeout -d 'Give up after this long when those who have it do not send it [default: 30s]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l verify -d 'How much is given out of content that is not proven yet [default: auto]' -r -f -a "auto\t'The parts that are read, and never all of it'
strict\t'Nothing: a read waits until the whole is here and proven, up to the read limit'"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l folder -d 'Fetch a published folder: ID is that of its listing, and FILE a folder to write it into'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l force -d 'Replace FILE if it exists; with --folder, files in it that are others'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l no-bootstrap -d 'Do not ask the well-known nodes for peers'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -l no-lan -d 'Do not look for neighbours on the local network'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand hash" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand hash" -l blake3 -d 'Print BLAKE3 hashes as b3sum does'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand hash" -l json -d 'Print length, SHA-256 and BLAKE3 of each file as JSON'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand hash" -l folder -d 'Take folders, and print the ids of their listings, as `seed` does'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand hash" -l list -d 'Print the listings themselves, which sha256sum --check can check inside the folder'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand hash" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand hash" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand status" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand status" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand status" -l json -d 'Print JSON'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand status" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand peers" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand peers" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand peers" -l json -d 'Print JSON'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand peers" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand peers" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand recent" -l limit -d 'Show at most this many' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand recent" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand recent" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand recent" -l json -d 'Print JSON'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand recent" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand recent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand explain" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand explain" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand explain" -l json -d 'Print JSON'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand explain" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand publish" -l name -d 'Publish under NAME, which may hold slashes [default: the last part of PATH]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand publish" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand publish" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand publish" -l list -d 'List what is published'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand publish" -l json -d 'Print JSON'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand publish" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand publish" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unpublish" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unpublish" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unpublish" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unpublish" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand ls" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand ls" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand ls" -l network -d 'List what the peers say that they have instead, with how many have it; needs a daemon'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand ls" -l seeding -d 'List the files and folders that are seeded instead, with the ids of the folders'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand ls" -l json -d 'Print JSON'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand ls" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand pin" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand pin" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand pin" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand pin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unpin" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unpin" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unpin" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand unpin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand gc" -l store-limit -d 'Let the store take at most this much of the disk, as in 500GiB; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand gc" -l min-free -d 'Give up content when less than this is free on the disk; 0 is no limit [default: 0]' -r
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand gc" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand gc" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand gc" -l dry-run -d 'Only print what would be given up'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand gc" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand verify" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand verify" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand verify" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand import" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand import" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand import" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand doctor" -l store -d 'Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]' -r -f -a "(__fish_complete_directories)"
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand doctor" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand doctor" -l rebuild -d 'Make the index of the store again from its files first; no daemon may run'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand doctor" -l json -d 'Print JSON'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand doctor" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand completions" -l config -d 'Read the configuration from FILE' -r -F
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand completions" -s v -l verbose -d 'Tell more on standard error; -vv and -vvv tell still more'
complete -c cjp2pfs -n "__fish_cjp2pfs_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
