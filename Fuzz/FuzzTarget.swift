import Foundation

// The entry points of libFuzzer. `scripts/fuzz` compiles this with the engine's sources, the walk
// and the support of the tests of malformed images into one module.

/// What every input needs, made once.
private struct Target: Sendable {
    let bases: [FuzzInput.Base]
    let mode: FuzzCase.Mode

    static let shared: Target = {
        let environment = ProcessInfo.processInfo.environment
        let folder = URL(filePath: environment["EXT4_FUZZ_FOLDER"] ?? "Fuzz")
        let mode = FuzzCase.Mode(rawValue: environment["EXT4_FUZZ_MODE"] ?? "fix")
        do {
            return Target(
                bases: try PackedImage.names.map {
                    FuzzInput.Base(try PackedImage.bytes($0, in: folder))
                }, mode: mode ?? .fixingChecksums)
        } catch {
            print("fuzz: the volumes in \(folder.path) cannot be read: \(error)")
            exit(2)
        }
    }()
}

/// Reads the volume that one input describes.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let input = [UInt8](UnsafeBufferPointer(start: data, count: size))
    FuzzCase.run(input, bases: Target.shared.bases, mode: Target.shared.mode)
    return 0
}

@_silgen_name("LLVMFuzzerMutate")
private func mutate(_ data: UnsafeMutablePointer<UInt8>, _ size: Int, _ maximum: Int) -> Int

/// A small generator of numbers, seeded by libFuzzer.
private struct Numbers {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(bound, 1))) }
}

/// Changes an input: half of the time by libFuzzer's own mutations of the bytes, the other half one more change of the
/// volume, of a value that code is likely to trip over, or of bytes from elsewhere.
@_cdecl("LLVMFuzzerCustomMutator")
public func customMutator(
    _ data: UnsafeMutablePointer<UInt8>, _ size: Int, _ maximum: Int, _ seed: CUnsignedInt
) -> Int {
    var numbers = Numbers(state: UInt64(seed))
    if size >= 2, numbers.below(2) == 0 { return mutate(data, size, maximum) }
    var input = [UInt8](UnsafeBufferPointer(start: data, count: size))
    while input.count < 2 { input.append(UInt8(truncatingIfNeeded: numbers.next())) }
    if numbers.below(8) == 0 { input[1] = UInt8(numbers.below(256)) }
    input += change(&numbers)
    if input.count > maximum {
        input.removeSubrange(2..<min(2 + input.count - maximum, input.count))
    }
    let count = min(input.count, maximum)
    for i in 0..<count { data[i] = input[i] }
    return count
}

private func change(_ numbers: inout Numbers) -> [UInt8] {
    func bytes(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }
    // Fields stand at multiples of two, most of four.
    let place = numbers.next() & (numbers.below(4) == 0 ? ~0 : ~1)
    let edges: [UInt64] = [
        0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 60, 64, 127, 128, 255, 256, 1023, 1024, 1025, 4096,
        0x7FFF, 0x8000, 0x8001, 0xF30A, 0xFFFC, 0xFFFF, 0x10000, 0xEA02_0000, 0x7FFF_FFFF,
        0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF, 0x1000_0000, 0x1008_0000, 0x8_0000, .max,
        1 << 63, .max >> 1,
    ]
    switch numbers.below(6) {
    case 0:
        return bytes(place, 4) + [0xC0 | UInt8(numbers.below(64))] + bytes(numbers.next(), 4)
    case 1:
        return bytes(place, 4) + [0x80 | UInt8(numbers.below(64))]
            + [[0, 0xFF, 1, 0x20][numbers.below(4)]]
    case 2:  // The number of some block or inode of a small volume.
        let width = [2, 4][numbers.below(2)]
        return bytes(place, 4) + [UInt8(width - 1)] + bytes(UInt64(numbers.below(2600)), width)
    default:
        let width = [1, 2, 4, 8][numbers.below(4)]
        return bytes(place, 4) + [UInt8(width - 1)]
            + bytes(edges[numbers.below(edges.count)], width)
    }
}
