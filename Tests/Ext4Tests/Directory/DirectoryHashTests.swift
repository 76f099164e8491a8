import Testing

@testable import Ext4

@Suite struct DirectoryHashTests {
    @Test(arguments: DirectoryHashVector.all.indices)
    func equalsDebugfs(_ index: Int) {
        let vector = DirectoryHashVector.all[index]
        let hash = DirectoryHash(.init(rawValue: vector.version), seed: vector.words)
        let hasMinor = vector.version % 3 != 0
        #expect(vector.hashes.count == DirectoryHashVector.lengths.count * (hasMinor ? 2 : 1))
        for (i, length) in DirectoryHashVector.lengths.enumerated() {
            let name = vector.name(length)
            let value = unsafe hash.hash(of: name.span.bytes)
            let expected = DirectoryHash.Value(
                major: vector.hashes[hasMinor ? 2 * i : i],
                minor: hasMinor ? vector.hashes[2 * i + 1] : 0)
            #expect(value == expected, "version \(vector.version), \(length) bytes")
        }
    }

    /// The end of a directory is 0x7FFFFFFF, shifted by one; no name may have it.
    @Test func noNameHasTheHashOfTheEnd() {
        // SipHash lets a test reach any value: look for none by keys, and see the rule by hand.
        let hash = DirectoryHash(.sipHash, seed: (0, 0, 0, 0), key: .init(low: 1, high: 2))
        for number in 0..<20_000 {
            let name = Array("name\(number)".utf8)
            guard let value = unsafe hash.hash(of: name.span.bytes) else {
                Issue.record("no hash")
                return
            }
            #expect(value.major & 1 == 0 && value.major != 0xFFFF_FFFE)
        }
        #expect(DirectoryHash.limited(0xFFFF_FFFF) == 0xFFFF_FFFC)
        #expect(DirectoryHash.limited(0xFFFF_FFFE) == 0xFFFF_FFFC)
        #expect(DirectoryHash.limited(0xFFFF_FFFD) == 0xFFFF_FFFC)
        #expect(DirectoryHash.limited(3) == 2)
    }

    @Test func versionsWithoutWhatTheyNeedHaveNoHash() {
        let name = Array("name".utf8)
        for version: UInt8 in 6...255 {
            let hash = DirectoryHash(.init(rawValue: version), seed: (0, 0, 0, 0))
            #expect(unsafe hash.hash(of: name.span.bytes) == nil)
        }
    }

    @Test func theVolumesFlagChoosesTheUnsignedVersion() {
        #expect(DirectoryHash.Version.halfMD4.resolved(isUnsigned: true) == .halfMD4Unsigned)
        #expect(DirectoryHash.Version.halfMD4.resolved(isUnsigned: false) == .halfMD4)
        #expect(DirectoryHash.Version.teaUnsigned.resolved(isUnsigned: true) == .teaUnsigned)
        #expect(DirectoryHash.Version.sipHash.resolved(isUnsigned: true) == .sipHash)
    }

    @Test func valuesOrderByMajorThenMinor() {
        let low = DirectoryHash.Value(major: 2, minor: 9)
        #expect(low < .init(major: 4, minor: 0))
        #expect(low < .init(major: 2, minor: 10))
        #expect(!(low < low))
    }

    /// The vectors of the function's paper and reference code: key 00…0F, input 00, 01, ….
    @Test func sipHashOfTheReference() {
        let key = SipHash.Key(low: 0x0706_0504_0302_0100, high: 0x0F0E_0D0C_0B0A_0908)
        let expected: [Int: UInt64] = [
            0: 0x726F_DB47_DD0E_0E31, 1: 0x74F8_39C5_93DC_67FD, 7: 0xAB02_00F5_8B01_D137,
            8: 0x93F5_F579_9A93_2462, 15: 0xA129_CA61_49BE_45E5,
        ]
        for (count, hash) in expected {
            let input = (0..<count).map { UInt8($0) }
            #expect(unsafe SipHash.hash(input.span.bytes, key: key) == hash, "\(count) bytes")
        }
    }
}
