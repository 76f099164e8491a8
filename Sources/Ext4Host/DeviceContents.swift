public import Ext4

/// What a device or file holds that somebody may want to keep.
public enum DeviceContents {
    /// Bytes by which something is known, and where they stand.
    private struct Signature {
        let offset: Int
        let bytes: [UInt8]
        let words: String

        init(_ offset: Int, _ bytes: [UInt8], _ words: String) {
            self.offset = offset
            self.bytes = bytes
            self.words = words
        }
        init(_ offset: Int, _ text: String, _ words: String) {
            self.init(offset, Array(text.utf8), words)
        }
    }

    private static let signatures = [
        Signature(0, "XFSB", "an XFS file system"),
        Signature(0x10040, "_BHRfS_M", "a btrfs file system"),
        Signature(0x400, [0x10, 0x20, 0xF5, 0xF2], "an F2FS file system"),
        Signature(0x400, [0xE2, 0xE1, 0xF5, 0xE0], "an EROFS file system"),
        Signature(0, "hsqs", "a squashfs file system"),
        Signature(0x8001, "CD001", "an ISO 9660 file system"),
        Signature(3, "NTFS    ", "an NTFS file system"),
        Signature(3, "EXFAT   ", "an exFAT file system"),
        Signature(82, "FAT32   ", "a FAT file system"),
        Signature(54, "FAT16   ", "a FAT file system"),
        Signature(54, "FAT12   ", "a FAT file system"),
        Signature(0, [0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE], "a LUKS encrypted volume"),
        Signature(0x1000 - 10, "SWAPSPACE2", "a swap area"),
        Signature(0x10000 - 10, "SWAPSPACE2", "a swap area"),
        Signature(0x218, "LVM2 001", "an LVM physical volume"),
        Signature(0x18, "LVM2 001", "an LVM physical volume"),
        Signature(0x1000, [0xFC, 0x4E, 0x2B, 0xA9], "a member of a RAID"),
        Signature(0, [0xFC, 0x4E, 0x2B, 0xA9], "a member of a RAID"),
        Signature(0, [0x51, 0x46, 0x49, 0xFB], "a qcow2 image"),
        Signature(0, "conectix", "a VHD image"),
        Signature(0, "vhdxfile", "a VHDX image"),
        Signature(0, "KDMV", "a VMDK image"),
        Signature(0x101, "ustar", "a tar archive"),
        Signature(512, "EFI PART", "a partition table (GPT)"),
        Signature(4096, "EFI PART", "a partition table (GPT)"),
    ]

    /// Says what is there; nil for nothing that is known.
    public static func find(on device: any BlockDevice) -> String? {
        let length = min(device.byteCount, 0x11000)
        guard let start = try? device.read(at: 0, count: Int(length)) else { return nil }
        if let words = ext(device) { return words }
        for signature in signatures {
            let end = signature.offset + signature.bytes.count
            guard end <= start.count else { continue }
            if Array(start[signature.offset..<end]) == signature.bytes { return signature.words }
        }
        return hasPartitions(start) ? "a partition table (MBR)" : nil
    }

    /// An ext volume, with its kind and its label.
    private static func ext(_ device: any BlockDevice) -> String? {
        var options = OpenOptions()
        options.superblock = .primary
        options.journal = .ignore
        options.verifiesChecksums = false
        guard let volume = try? Volume.open(device, options: options) else {
            guard let magic = try? device.read(at: 1024 + 0x38, count: 2), magic == [0x53, 0xEF]
            else { return nil }
            return "an ext2, ext3 or ext4 file system"
        }
        let superblock = volume.superblock
        let isNew =
            !superblock.incompatible.isDisjoint(with: [.extents, .bit64, .flexBg])
            || !superblock.readOnlyCompatible.isDisjoint(with: [.hugeFile, .metadataCsum])
        let kind =
            isNew ? "ext4" : superblock.compatible.contains(.hasJournal) ? "ext3" : "ext2"
        let label =
            superblock.label.isEmpty ? "" : " labelled \(Quoted(superblock.label))"
        return "an \(kind) file system\(label)"
    }

    /// Whether the first sector ends with the mark of a table, and that has a partition: boot
    /// sectors of other things have the mark, too.
    private static func hasPartitions(_ start: [UInt8]) -> Bool {
        guard start.count >= 512, start[510] == 0x55, start[511] == 0xAA else { return false }
        return (0..<4).contains { index in
            let entry = start[446 + 16 * index..<462 + 16 * index]
            guard let status = entry.first, status == 0 || status == 0x80 else { return false }
            return entry[entry.startIndex + 4] != 0
                && entry[(entry.startIndex + 12)...].contains { $0 != 0 }
        }
    }
}
