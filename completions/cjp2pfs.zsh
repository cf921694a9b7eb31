#compdef cjp2pfs

autoload -U is-at-least

_cjp2pfs() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_cjp2pfs_commands" \
"*::: :->cjp2pfs" \
&& ret=0
    case $state in
    (cjp2pfs)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:cjp2pfs-command-$line[1]:"
        case $line[1] in
            (mount)
_arguments "${_arguments_options[@]}" : \
'--complete=[Whether content that is being read is fetched to its end in the background \[default\: auto\]]:WHEN:((auto\:"When it is read from its start onward"
always\:"As soon as it is read at all"
never\:"Never"))' \
'--uid=[Become this user first, by number; only for root \[default\: stay who one is\]]:UID:_default' \
'--gid=[Become a member of this group only, by number \[default\: the group of --uid\]]:GID:_default' \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--bind=[Listen on this UDP address; a taken port is replaced by a free one \[default\: \[\:\:\]\:24254\]]:ADDR:PORT:_default' \
'*--peer=[Ask this peer; may be given several times]:ADDR:PORT:_default' \
'--cache=[Keep at most this much content in memory, as in 64MiB or 1G \[default\: 256MiB\]]:SIZE:_default' \
'--store-limit=[Let the store take at most this much of the disk, as in 500GiB; 0 is no limit \[default\: 0\]]:SIZE:_default' \
'--min-free=[Give up content when less than this is free on the disk; 0 is no limit \[default\: 0\]]:SIZE:_default' \
'--upload-limit=[Send others at most this much a second, as in 500K or 1.5MiB; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--upload-limit-per-address=[Send each IP address at most this much a second; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--download-limit=[Fetch at most this much a second, as it travels; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--lookup-timeout=[Give up after this long when nobody has the content, as in 5s or 500ms \[default\: 5s\]]:TIME:_default' \
'--read-timeout=[Give up after this long when those who have it do not send it \[default\: 30s\]]:TIME:_default' \
'--verify=[How much is given out of content that is not proven yet \[default\: auto\]]:HOW:((auto\:"The parts that are read, and never all of it"
strict\:"Nothing\: a read waits until the whole is here and proven, up to the read limit"))' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'-f[Stay in the foreground]' \
'--foreground[Stay in the foreground]' \
'--allow-other[Let other users read the mount (needs user_allow_other in /etc/fuse.conf, except for root)]' \
'--exec[Let programs on the mount be run; they come from strangers]' \
'--no-passthrough[Answer every read, also where the kernel could read a complete file in the store by itself]' \
'--no-bootstrap[Do not ask the well-known nodes for peers]' \
'--no-lan[Do not look for neighbours on the local network]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':mountpoint -- An empty folder:_files -/' \
&& ret=0
;;
(umount)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':mountpoint -- The folder that the network is mounted at:_files -/' \
&& ret=0
;;
(seed)
_arguments "${_arguments_options[@]}" : \
'--uid=[Become this user first, by number; only for root \[default\: stay who one is\]]:UID:_default' \
'--gid=[Become a member of this group only, by number \[default\: the group of --uid\]]:GID:_default' \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--bind=[Listen on this UDP address; a taken port is replaced by a free one \[default\: \[\:\:\]\:24254\]]:ADDR:PORT:_default' \
'*--peer=[Ask this peer; may be given several times]:ADDR:PORT:_default' \
'--cache=[Keep at most this much content in memory, as in 64MiB or 1G \[default\: 256MiB\]]:SIZE:_default' \
'--store-limit=[Let the store take at most this much of the disk, as in 500GiB; 0 is no limit \[default\: 0\]]:SIZE:_default' \
'--min-free=[Give up content when less than this is free on the disk; 0 is no limit \[default\: 0\]]:SIZE:_default' \
'--upload-limit=[Send others at most this much a second, as in 500K or 1.5MiB; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--upload-limit-per-address=[Send each IP address at most this much a second; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--download-limit=[Fetch at most this much a second, as it travels; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--lookup-timeout=[Give up after this long when nobody has the content, as in 5s or 500ms \[default\: 5s\]]:TIME:_default' \
'--read-timeout=[Give up after this long when those who have it do not send it \[default\: 30s\]]:TIME:_default' \
'--verify=[How much is given out of content that is not proven yet \[default\: auto\]]:HOW:((auto\:"The parts that are read, and never all of it"
strict\:"Nothing\: a read waits until the whole is here and proven, up to the read limit"))' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--once[Serve the files as they are now, only until the daemon ends]' \
'--no-bootstrap[Do not ask the well-known nodes for peers]' \
'--no-lan[Do not look for neighbours on the local network]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::paths -- Files and folders:_files' \
&& ret=0
;;
(unseed)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::paths -- Files and folders as they were given to `seed`:_files' \
&& ret=0
;;
(get)
_arguments "${_arguments_options[@]}" : \
'-o+[Write to FILE; - is standard output \[default\: the hash, in the current folder\]]:FILE:_files' \
'--output=[Write to FILE; - is standard output \[default\: the hash, in the current folder\]]:FILE:_files' \
'(--folder)--blocks=[Verify each block of 256 KiB as it comes by this list, whose SHA-256 is LIST]:LIST:_default' \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--bind=[Listen on this UDP address; a taken port is replaced by a free one \[default\: \[\:\:\]\:24254\]]:ADDR:PORT:_default' \
'*--peer=[Ask this peer; may be given several times]:ADDR:PORT:_default' \
'--cache=[Keep at most this much content in memory, as in 64MiB or 1G \[default\: 256MiB\]]:SIZE:_default' \
'--store-limit=[Let the store take at most this much of the disk, as in 500GiB; 0 is no limit \[default\: 0\]]:SIZE:_default' \
'--min-free=[Give up content when less than this is free on the disk; 0 is no limit \[default\: 0\]]:SIZE:_default' \
'--upload-limit=[Send others at most this much a second, as in 500K or 1.5MiB; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--upload-limit-per-address=[Send each IP address at most this much a second; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--download-limit=[Fetch at most this much a second, as it travels; 0 is no limit \[default\: 0\]]:RATE:_default' \
'--lookup-timeout=[Give up after this long when nobody has the content, as in 5s or 500ms \[default\: 5s\]]:TIME:_default' \
'--read-timeout=[Give up after this long when those who have it do not send it \[default\: 30s\]]:TIME:_default' \
'--verify=[How much is given out of content that is not proven yet \[default\: auto\]]:HOW:((auto\:"The parts that are read, and never all of it"
strict\:"Nothing\: a read waits until the whole is here and proven, up to the read limit"))' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--folder[Fetch a published folder\: ID is that of its listing, and FILE a folder to write it into]' \
'--force[Replace FILE if it exists; with --folder, files in it that are others]' \
'--no-bootstrap[Do not ask the well-known nodes for peers]' \
'--no-lan[Do not look for neighbours on the local network]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- The SHA-256 as 64 hexadecimal digits, or blake3/ and the BLAKE3:_default' \
&& ret=0
;;
(hash)
_arguments "${_arguments_options[@]}" : \
'--config=[Read the configuration from FILE]:FILE:_files' \
'(--json)--blake3[Print BLAKE3 hashes as b3sum does]' \
'--json[Print length, SHA-256 and BLAKE3 of each file as JSON]' \
'(--blake3 --json)--folder[Take folders, and print the ids of their listings, as \`seed\` does]' \
'--list[Print the listings themselves, which sha256sum --check can check inside the folder]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::files -- Files; - is standard input. With --folder\: folders:_files' \
&& ret=0
;;
(status)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--json[Print JSON]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(peers)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--json[Print JSON]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(recent)
_arguments "${_arguments_options[@]}" : \
'--limit=[Show at most this many]:NUMBER:_default' \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--json[Print JSON]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(explain)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--json[Print JSON]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- The SHA-256 as 64 hexadecimal digits, or blake3/ and the BLAKE3:_default' \
&& ret=0
;;
(publish)
_arguments "${_arguments_options[@]}" : \
'(--list)--name=[Publish under NAME, which may hold slashes \[default\: the last part of PATH\]]:NAME:_default' \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--list[List what is published]' \
'--json[Print JSON]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'::path -- A file or folder:_files' \
&& ret=0
;;
(unpublish)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The name:_default' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--network[List what the peers say that they have instead, with how many have it; needs a daemon]' \
'(--network)--seeding[List the files and folders that are seeded instead, with the ids of the folders]' \
'--json[Print JSON]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(pin)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::ids -- SHA-256s as 64 hexadecimal digits, or blake3/ and the BLAKE3:_default' \
&& ret=0
;;
(unpin)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::ids -- SHA-256s as 64 hexadecimal digits, or blake3/ and the BLAKE3:_default' \
&& ret=0
;;
(gc)
_arguments "${_arguments_options[@]}" : \
'--store-limit=[Let the store take at most this much of the disk, as in 500GiB; 0 is no limit \[default\: 0\]]:SIZE:_default' \
'--min-free=[Give up content when less than this is free on the disk; 0 is no limit \[default\: 0\]]:SIZE:_default' \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--dry-run[Only print what would be given up]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::ids -- SHA-256s as 64 hexadecimal digits, or blake3/ and the BLAKE3 \[default\: all that is held\]:_default' \
&& ret=0
;;
(import)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::paths -- Files and folders:_files' \
&& ret=0
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
'--store=[Keep content, and find the daemon, in DIR \[default\: \$XDG_DATA_HOME/cjp2pfs\]]:DIR:_files -/' \
'--config=[Read the configuration from FILE]:FILE:_files' \
'--rebuild[Make the index of the store again from its files first; no daemon may run]' \
'--json[Print JSON]' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(completions)
_arguments "${_arguments_options[@]}" : \
'--config=[Read the configuration from FILE]:FILE:_files' \
'*-v[Tell more on standard error; -vv and -vvv tell still more]' \
'*--verbose[Tell more on standard error; -vv and -vvv tell still more]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':shell -- The shell:(bash elvish fish powershell zsh)' \
&& ret=0
;;
        esac
    ;;
esac
}

(( $+functions[_cjp2pfs_commands] )) ||
_cjp2pfs_commands() {
    local commands; commands=(
'mount:Mount the network at a folder' \
'umount:Unmount the folder and wait until its daemon has ended' \
'seed:Hash files and folders and serve them from where they lie' \
'unseed:Serve files and folders no longer' \
'get:Fetch content into a file' \
'hash:Print the hashes of files as sha256sum or b3sum does' \
'status:Show what the daemon of the store is doing' \
'peers:Show the peers that the daemon of the store knows' \
'recent:Show what the peers say that they have, the latest named first' \
'explain:Tell why content is not here yet\: which bytes, which peers, what they answered' \
'publish:Publish a file or folder under a name that can stand for something else later' \
'unpublish:Publish nothing under a name any more' \
'ls:List the content that is held\: how much of it, when it was used, whether it is pinned' \
'pin:Never give up this content, be it held now or later' \
'unpin:Let this content be given up again when room is needed' \
'gc:Give up content until the limits are kept, and what is of no use to anybody' \
'verify:Read complete content once more and compare it with its hash' \
'import:Put files into the store, by sharing their blocks or the file itself where that can be' \
'doctor:Check the store and this machine, and tell what is in force' \
'completions:Print the completions for a shell' \
    )
    _describe -t commands 'cjp2pfs commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__completions_commands] )) ||
_cjp2pfs__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs completions commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__doctor_commands] )) ||
_cjp2pfs__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs doctor commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__explain_commands] )) ||
_cjp2pfs__subcmd__explain_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs explain commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__gc_commands] )) ||
_cjp2pfs__subcmd__gc_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs gc commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__get_commands] )) ||
_cjp2pfs__subcmd__get_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs get commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__hash_commands] )) ||
_cjp2pfs__subcmd__hash_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs hash commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__import_commands] )) ||
_cjp2pfs__subcmd__import_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs import commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__ls_commands] )) ||
_cjp2pfs__subcmd__ls_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs ls commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__mount_commands] )) ||
_cjp2pfs__subcmd__mount_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs mount commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__peers_commands] )) ||
_cjp2pfs__subcmd__peers_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs peers commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__pin_commands] )) ||
_cjp2pfs__subcmd__pin_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs pin commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__publish_commands] )) ||
_cjp2pfs__subcmd__publish_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs publish commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__recent_commands] )) ||
_cjp2pfs__subcmd__recent_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs recent commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__seed_commands] )) ||
_cjp2pfs__subcmd__seed_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs seed commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__status_commands] )) ||
_cjp2pfs__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs status commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__umount_commands] )) ||
_cjp2pfs__subcmd__umount_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs umount commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__unpin_commands] )) ||
_cjp2pfs__subcmd__unpin_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs unpin commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__unpublish_commands] )) ||
_cjp2pfs__subcmd__unpublish_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs unpublish commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__unseed_commands] )) ||
_cjp2pfs__subcmd__unseed_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs unseed commands' commands "$@"
}
(( $+functions[_cjp2pfs__subcmd__verify_commands] )) ||
_cjp2pfs__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'cjp2pfs verify commands' commands "$@"
}

if [ "$funcstack[1]" = "_cjp2pfs" ]; then
    _cjp2pfs "$@"
else
    compdef _cjp2pfs cjp2pfs
fi
