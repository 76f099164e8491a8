internal import Ext4

extension FileMode {
    /// The mode as `ls -l` prints it: `-rwxr-xr-x`.
    var letters: String {
        let bits = permissions
        var text = type.letter
        let sets: [(shift: UInt16, special: UInt16, letter: Character)] = [
            (6, 0o4000, "s"), (3, 0o2000, "s"), (0, 0o1000, "t"),
        ]
        for (shift, special, letter) in sets {
            text += bits >> shift & 4 != 0 ? "r" : "-"
            text += bits >> shift & 2 != 0 ? "w" : "-"
            switch (bits & special != 0, bits >> shift & 1 != 0) {
            case (false, false): text += "-"
            case (false, true): text += "x"
            case (true, true): text.append(letter)
            case (true, false): text += letter.uppercased()
            }
        }
        return text
    }

    /// The permissions in octal, four digits.
    var octal: String {
        let digits = String(permissions, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}

extension FileType {
    /// The letter of `ls -l`.
    var letter: String {
        switch self {
        case .unknown: "?"
        case .regular: "-"
        case .directory: "d"
        case .characterDevice: "c"
        case .blockDevice: "b"
        case .fifo: "p"
        case .socket: "s"
        case .symlink: "l"
        }
    }

    /// The type in words, as `stat` prints it.
    var words: String {
        switch self {
        case .unknown: "unknown"
        case .regular: "regular file"
        case .directory: "directory"
        case .characterDevice: "character special file"
        case .blockDevice: "block special file"
        case .fifo: "fifo"
        case .socket: "socket"
        case .symlink: "symbolic link"
        }
    }

    /// The type as one word, for programs.
    var key: String {
        switch self {
        case .unknown: "unknown"
        case .regular: "regular"
        case .directory: "directory"
        case .characterDevice: "characterDevice"
        case .blockDevice: "blockDevice"
        case .fifo: "fifo"
        case .socket: "socket"
        case .symlink: "symlink"
        }
    }
}

extension InodeFlags {
    /// The flags that are set, by the names of `chattr(1)` and the kernel.
    var names: [String] {
        let table: [(InodeFlags, String)] = [
            (.secureDelete, "secureDelete"), (.undelete, "undelete"), (.compressed, "compressed"),
            (.synchronous, "synchronous"), (.immutable, "immutable"), (.appendOnly, "appendOnly"),
            (.noDump, "noDump"), (.noAccessTime, "noAccessTime"), (.encrypted, "encrypted"),
            (.index, "index"), (.journalData, "journalData"), (.noTail, "noTail"),
            (.directorySync, "directorySync"), (.topDirectory, "topDirectory"),
            (.hugeFile, "hugeFile"), (.extents, "extents"), (.verity, "verity"),
            (.attributeInode, "attributeInode"), (.dax, "dax"), (.inlineData, "inlineData"),
            (.projectInherit, "projectInherit"), (.casefold, "casefold"),
        ]
        return table.filter { contains($0.0) }.map(\.1)
    }
}
