import Foundation

/// What a tree on this system is, in lines that can be compared: for every path its type, mode,
/// owner, links, size, time to the nanosecond, target, device, extended attributes and contents.
struct TreeListing: Equatable {
    let lines: [String]

    /// Lists the tree at `path` with the system's own tools.
    init(_ path: String) throws {
        let script = """
            cd "$1"
            find . -mindepth 1 -type d -printf '%P type=%y mode=%m uid=%U gid=%G time=%T@\\n'
            find . -mindepth 1 ! -type d \\
                -printf '%P type=%y mode=%m uid=%U gid=%G links=%n size=%s time=%T@ to=%l\\n'
            find . -type b -o -type c | while read -r file; do
                stat -c '%n device %t:%T' "$file"
            done
            find . -type f -size -100M -exec sha256sum {} +
            getfattr -R -h -d -m - -e hex . | sed '/^$/d' | awk '
                /^# file:/ { name = $0; next } { print name " " $0 }'
            """
        lines = try Tool.shell(script, path).text.split(separator: "\n").map(String.init).sorted()
    }

    /// The lines that only one of two listings has, for a message.
    func difference(from other: TreeListing) -> [String] {
        lines.filter { !other.lines.contains($0) }.map { "- \($0)" }
            + other.lines.filter { !lines.contains($0) }.map { "+ \($0)" }
    }
}

/// A volume with every kind of file, written by the kernel. Needs root and a loop device.
struct RichImage {
    let scratch: ScratchDirectory
    let path: String
    /// What the kernel says is in it.
    let listing: TreeListing

    init() throws {
        scratch = try ScratchDirectory()
        path = scratch.path("rich.img")
        let script = """
            image=$1; dir=$2
            truncate -s 256M "$image"
            mke2fs -q -t ext4 -I 512 -O ea_inode "$image"
            mkdir "$dir"
            mount -o loop "$image" "$dir"
            trap 'cd /; umount "$dir"' EXIT
            cd "$dir"
            printf 'hello\\n' > plain
            : > empty
            head -c 3000000 /dev/urandom > large
            mkdir -p deep/$(printf 'd%.0s/' $(seq 90))
            echo bottom > deep/$(printf 'd%.0s/' $(seq 90))bottom
            mkdir -m 1777 sticky; mkdir -m 2750 setgid; mkdir -m 0555 closed-later
            echo inside > closed-later/inside
            ln plain hard1; ln plain deep/hard2
            ln -s plain link; ln -s /nowhere/at/all absolute
            ln -s "$(printf 'x%.0s' $(seq 900))" longlink
            mkfifo fifo; mknod char c 5 259; mknod block b 259 70000
            python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")' 2>/dev/null || :
            rm -f sock
            printf x > "$(printf 'not\\377utf8\\376')"; printf x > "$(printf 'line\\nend')"
            printf x > 'café'; printf x > "$(printf 'cafe\\314\\201')"
            printf x > "$(printf 'n%.0s' $(seq 255))"
            truncate -s 40M sparse; printf middle | dd of=sparse bs=1 seek=20000000 conv=notrunc
            truncate -s 20G allhole
            fallocate -l 1M unwritten; printf some | dd of=unwritten bs=1 seek=500000 conv=notrunc
            i=0; while [ $i -lt 60 ]; do
                printf data | dd of=striped bs=1 seek=$((i * 40000)) conv=notrunc; i=$((i + 1))
            done
            chown 1234:5678 plain; chown 4000000000:3000000000 empty; chown -h 77:78 link
            chmod 6755 large
            setfattr -n user.text -v value plain; setfattr -n user.binary -v 0x00ff0a00 plain
            setfattr -n 'user.a=b%c' -v odd plain; setfattr -n user.empty plain
            setfattr -n user.big -v "$(head -c 2500 /dev/urandom | base64 -w 0)" empty
            setfattr -h -n trusted.onlink -v yes link; setfattr -n trusted.dir -v yes sticky
            setcap cap_net_raw+ep large 2>/dev/null || :
            setfacl -m u:1000:rw,g:2000:r,m::rw plain; setfacl -d -m u:1000:rwx setgid
            touch -h -d '1955-06-07 08:09:10.123456789' hard1 link
            touch -d '2200-01-02 03:04:05.999999999' large
            touch -d '1901-12-14 00:00:00.5' empty; touch -d '2039-01-01 00:00:00.000000001' sticky
            touch -d '1970-01-01 00:00:00' fifo
            """
        let mountPoint = scratch.path("mount")
        try Tool.shell(script, path, mountPoint)
        try Tool.shell("mount -o ro,loop \"$1\" \"$2\"", path, mountPoint)
        defer { _ = try? Tool.shell("umount \"$1\"", mountPoint) }
        listing = try TreeListing(mountPoint)
    }
}
