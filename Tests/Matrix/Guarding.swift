import Ext4
import Ext4Host
import Ext4Verify

/// Shows that the comparison can fail: each of these changes to an image must be reported, at its
/// path and in its field, and nothing else.
struct Guarding {
    let bench: Workbench
    let expected: TreeManifest

    /// What is changed, and the differences that must come of it.
    private struct Change {
        var commands: [String] = []
        var path: String
        var fields: Set<String>
    }

    private let changes: [Change] = [
        Change(
            commands: ["sif /times/set2 mtime_extra 8"], path: "/times/set2",
            fields: ["modification time"]),
        Change(
            commands: ["sif /times/set3 crtime_extra 12"], path: "/times/set3",
            fields: ["creation time"]),
        Change(
            commands: ["sif /types/small mode 0100600"], path: "/types/small",
            fields: ["permissions"]),
        Change(commands: ["sif /types/small uid 7"], path: "/types/small", fields: ["owner"]),
        Change(
            commands: ["sif /types/small generation 7"], path: "/types/small",
            fields: ["generation"]),
        Change(
            commands: ["sif /types/small flags 0x80040"], path: "/types/small", fields: ["flags"]),
        Change(
            commands: ["sif /links/file links_count 3"], path: "/links/file",
            fields: ["link count"]),
        Change(
            commands: ["sif /types/fifo blocks 8"], path: "/types/fifo",
            fields: ["blocks of 512 bytes"]),
        Change(commands: ["unlink /types/sda1"], path: "/types/sda1", fields: ["name"]),
        Change(
            commands: ["ea_set /attributes/few user.a c"], path: "/attributes/few",
            fields: ["attribute user.a"]),
        Change(
            commands: ["ea_rm /attributes/few user.a"], path: "/attributes/few",
            fields: ["attribute user.a"]),
    ]

    /// Tries every change on a copy of the image.
    func run(_ notes: inout [String]) throws {
        let copy = bench.path("changed")
        var count = 0
        for change in changes {
            try bench.run("cp --sparse=always \(bench.image) \(copy)")
            try bench.debugfs(change.commands, on: copy, writing: true)
            try expect(change.fields, at: change.path, in: copy, "\(change.commands)")
            count += 1
        }
        try changeByte(copy)
        try moveExtent()
        notes.append("\(count + 2) changes found")
    }

    private func expect(
        _ fields: Set<String>, at path: String, in image: String, _ change: String
    ) throws {
        let found = try TreeManifest(reading: Volume.open(FileDevice(path: image)))
        let differences = TreeComparison(expected: expected, found: found).differences
        // An inode that several names lead to may be reported under any of them.
        let number = expected.number(at: path)
        for difference in differences
        where difference.path != path && expected.number(at: difference.path) != number {
            throw TrialError.failed("guard: \(change) showed as \(difference)")
        }
        guard fields.isSubset(of: Set(differences.map(\.field))),
            Set(differences.map(\.field)).subtracting(fields).subtracting(["change time"]).isEmpty
        else {
            throw TrialError.failed(
                "guard: \(change) should show in \(fields.sorted()), shows as \(differences)")
        }
    }

    /// One byte of one file, by its place on the device.
    private func changeByte(_ copy: String) throws {
        let path = "/types/large"
        try bench.run("cp --sparse=always \(bench.image) \(copy)")
        guard let number = expected.number(at: path),
            let run = expected.nodes[number]?.map?.last
        else { throw TrialError.failed("\(path) has no blocks") }
        let place = run.physical + min(run.count, 4096) / 2
        // Closed before it is read: the device is claimed as long as it is open.
        do {
            let device = try FileDevice(path: copy, access: .readWrite)
            var byte = try device.read(at: place, count: 1)
            byte[0] ^= 1
            try unsafe device.write(byte.span.bytes, at: place)
            try device.flush()
        }
        try expect(["contents"], at: path, in: copy, "one bit at byte \(place)")
    }

    /// One block of one map, on the side that is expected: a map cannot be changed so that the
    /// contents stay.
    private func moveExtent() throws {
        let path = "/deep"
        guard let number = expected.number(at: path),
            let index = expected.nodes[number]?.map?.indices.last
        else { throw TrialError.failed("\(path) has no blocks") }
        var changed = expected
        changed.nodes[number]?.map?[index].isUnwritten.toggle()
        let found = try TreeManifest(reading: Volume.open(FileDevice(path: bench.image)))
        let differences = TreeComparison(expected: changed, found: found).differences
        guard differences.count == 1, differences[0].path == path,
            differences[0].field.hasPrefix("map")
        else { throw TrialError.failed("guard: a changed map shows as \(differences)") }
    }
}
