// The table of owners, permissions and devices with which images are built by somebody who is not
// root, as genext2fs (-D) and makedevs have it: a line a file,
//
//     name type mode uid gid major minor start inc count
//
// with type f (a file that is there), d (a directory, made if need be), r (a file or directory with
// all that is in it), c and b (devices), p (a pipe), s (a socket). A count makes so many devices,
// with numbers from `start` on behind the name. `-` stands for 0, `#` begins a comment.

/// A table of owners, permissions and devices.
public struct DeviceTable: Sendable {
    /// Why a text is no such table: the line and what is wrong with it.
    public struct Problem: Error, Hashable, Sendable, CustomStringConvertible {
        /// The words.
        public let description: String
    }

    /// What a line is about.
    enum Kind: Character {
        case file = "f"
        case directory = "d"
        case recursive = "r"
        case characterDevice = "c"
        case blockDevice = "b"
        case pipe = "p"
        case socket = "s"
    }

    /// A line.
    struct Line {
        let path: [UInt8]
        let kind: Kind
        let permissions: UInt16
        let userID: UInt32
        let groupID: UInt32
        let major: UInt32
        let minor: UInt32
        let start: UInt32
        let increment: UInt32
        let count: UInt32
    }

    /// The lines, in order.
    let lines: [Line]

    /// The most devices that a line makes.
    private static let mostDevices: UInt32 = 1 << 16

    /// Reads a table.
    public init(parsing text: [UInt8]) throws(Problem) {
        var lines: [Line] = []
        for (index, row) in text.split(separator: 0x0A, omittingEmptySubsequences: false)
            .enumerated()
        {
            let fields = row.prefix { $0 != UInt8(ascii: "#") }.split {
                $0 == 0x20 || $0 == 0x09 || $0 == 0x0D
            }
            guard !fields.isEmpty else { continue }
            do throws(Problem) {
                lines.append(try Self.line(fields))
            } catch {
                throw Problem(description: "line \(index + 1): \(error.description)")
            }
        }
        self.lines = lines
    }

    private static func line(_ fields: [ArraySlice<UInt8>]) throws(Problem) -> Line {
        guard fields.count >= 5, fields.count <= 10 else {
            throw Problem(
                description: "it has \(fields.count) fields; they are name type mode uid gid, "
                    + "and for devices major minor start inc count")
        }
        let letter = String(decoding: fields[1], as: UTF8.self)
        guard letter.count == 1, let kind = letter.first.flatMap(Kind.init) else {
            throw Problem(
                description: "\(Quoted(fields[1])) is no type; there are f, d, r, c, b, p and s")
        }
        func number(_ index: Int, radix: Int = 10) throws(Problem) -> UInt32 {
            guard index < fields.count, Array(fields[index]) != [UInt8(ascii: "-")] else {
                return 0
            }
            let text = String(decoding: fields[index], as: UTF8.self)
            guard let value = UInt32(text, radix: radix) else {
                throw Problem(description: "\(Quoted(fields[index])) is no number")
            }
            return value
        }
        let permissions = try number(2, radix: 8)
        guard permissions <= 0o7777 else {
            throw Problem(description: "\(Quoted(fields[2])) is no mode")
        }
        let line = Line(
            path: Array(fields[0]), kind: kind, permissions: UInt16(permissions),
            userID: try number(3), groupID: try number(4), major: try number(5),
            minor: try number(6), start: try number(7), increment: try number(8),
            count: try number(9))
        guard line.count <= mostDevices else {
            throw Problem(description: "more than \(mostDevices) devices")
        }
        return line
    }
}
