internal import ArgumentParser

// Arguments are bytes, and names in an image need not be UTF-8. Swift's arguments are Strings, in
// which other bytes would be lost. So each byte that is no UTF-8 is carried through the parser as
// a character of its own, from the end of the private planes, and turned back where a path is
// wanted.

/// A path that came as an argument, with the bytes that it came with.
struct PathArgument: ExpressibleByArgument {
    private static let carriers: ClosedRange<UInt32> = 0x10_FE00...0x10_FEFF

    let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    init?(argument: String) {
        bytes = argument.unicodeScalars.flatMap { scalar -> [UInt8] in
            Self.carriers.contains(scalar.value)
                ? [UInt8(scalar.value - Self.carriers.lowerBound)] : Array(String(scalar).utf8)
        }
    }

    var defaultValueDescription: String { String(decoding: bytes, as: UTF8.self) }

    /// The arguments of this process, without its name, as the parser shall get them.
    static func arguments() -> [String] {
        var arguments: [String] = []
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = unsafe CommandLine.unsafeArgv[index] else { break }
            var bytes: [UInt8] = []
            var next = unsafe argument
            while unsafe next.pointee != 0 {
                unsafe bytes.append(UInt8(bitPattern: next.pointee))
                unsafe next += 1
            }
            arguments.append(carried(bytes))
        }
        return arguments
    }

    /// Bytes as a String that holds each of them.
    static func carried(_ bytes: [UInt8]) -> String {
        var text = String.UnicodeScalarView()
        func carry(_ byte: UInt8) {
            if let scalar = Unicode.Scalar(carriers.lowerBound + UInt32(byte)) {
                text.append(scalar)
            }
        }
        var rest = bytes[...]
        while let first = rest.first {
            var decoder = UTF8()
            var iterator = rest.makeIterator()
            switch decoder.decode(&iterator) {
            case .scalarValue(let scalar):
                let width = UTF8.width(scalar)
                if carriers.contains(scalar.value) {
                    for byte in rest.prefix(width) { carry(byte) }
                } else {
                    text.append(scalar)
                }
                rest = rest.dropFirst(width)
            case .emptyInput, .error:
                carry(first)
                rest = rest.dropFirst()
            }
        }
        return String(text)
    }
}
