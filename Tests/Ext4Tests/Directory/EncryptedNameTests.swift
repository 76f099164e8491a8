import Testing

@testable import Ext4

@Suite struct EncryptedNameTests {
    /// Names of an encrypted directory, as its blocks have them and as Linux 6.18 listed them
    /// without the key. 149 bytes of ciphertext are shown whole; these have 16, 148, 152 and 255.
    private static let vectors: [(ciphertext: String, shown: String)] = [
        (
            ciphertext:
                "d5495fe3f9f65ac692b4e6d3f5cf1e6a14f854ef9e25e907172191b86c037d41db067ca3cce1"
                + "1e8897be2b046507d2f7e0908931412dbc87b29b6e572671f2a15912b6ab576107223b46fa8b"
                + "6cc851bcca9e1b87a2726f10066e98bd16513baeb69a0025e97792ae7f372459a01f8d876016"
                + "6081dbcbff86ed21d0f935f8b281f29871959f79ef01cd360c4edc427728f89a8773",
            shown: "ePfLB5U7ztrVSV_j-fZaxpK05tP1zx5qFPhU754l6QcXIZG4bAN9QdsGfKPM4R6Il74rBGUH0vfg"
                + "kIkxQS28h7KbblcmcfKhWRK2q1dhByI7RvqLbMhRvMqeG4eicm8QBm6YvRZRO662mgAl6XeSrn83"
                + "JFmgH42HYBZggdvL_4btIdD5NfiygfKYcZWfee8BzTYMTtxCdyj4modz"
        ),
        (
            ciphertext: "0360b542abb3f09b318c6895c453d10f",
            shown: "DC8sBNI5lgkDYLVCq7PwmzGMaJXEU9EP"
        ),
        (
            ciphertext:
                "7e73bf164b6fa730949097d5639694ecb376cca15aa3a51dad185cdce3da2b2f12849070d210"
                + "e8abbc3eb650411922b7833ce69362a9a6ff42b44731823302e63b040c15b57c4d780ccd4639"
                + "ce1b1ad4397f0683d241c43d11687ecb480913be6c98a5ad407ee158c8d1af9f270e47e8f143"
                + "041bf10f563d3ca11560ea76fe12781b321610352f5649cab69a5f17d1398a2d76f021bbf3a6",
            shown: "sCDLI6g-82N-c78WS2-nMJSQl9VjlpTss3bMoVqjpR2tGFzc49orLxKEkHDSEOirvD62UEEZIreD"
                + "POaTYqmm_0K0RzGCMwLmOwQMFbV8TXgMzUY5zhsa1Dl_BoPSQcQ9EWh-y0gJE75smKWtQH7hWMjR"
                + "r58nDkfo8UMEG_EPVj08oRVg6nb-EngbMhYQNS9WScq2ml8X0TmKLXbwIaERrKs9sNZuyoM0VbNs"
                + "QWXYnqldQ02qFRzYAh_bwWVm"
        ),
        (
            ciphertext:
                "e1e52bb591c85aea12125149a87354cf4da752346de214fc3c7c2d3b08cfdd5b36c6f24a1238"
                + "a85c92b682ba10f75c1d956b505e4544a19fbd44f1ef922fc4eb35ae7869392a819c43639d96"
                + "da8bc285ae0d0e23fae56e82ff3277dd807380d48ba8a66c20d9590e06b9d13f3cc960decd53"
                + "b48cc72239b33fa41f75cd92f70600e6823ba0c0848d59f6b07612cba079e1ea65562aeebc07"
                + "9bd7adc6ada3e0a97a6ea498347726f50962b93b6d9fdce3afa46c0fcf5057e034ceef755977"
                + "4992fe742227334602b78b2d5fc7b753c6eeba64f1422313b042ae9bebacbb2bbe15595e59cb"
                + "2f3a5527b2105397b578d453fc61751b35fc641801c97bb023c129",
            shown: "wGC4l_d8iFLh5Su1kcha6hISUUmoc1TPTadSNG3iFPw8fC07CM_dWzbG8koSOKhckraCuhD3XB2V"
                + "a1BeRUShn71E8e-SL8TrNa54aTkqgZxDY52W2ovCha4NDiP65W6C_zJ33YBzgNSLqKZsINlZDga5"
                + "0T88yWDezVO0jMciObM_pB91zZL3BgDmgjugwISNWfawdhLLoHnh6mVWKvagoAKmZ5JEXOTUVquy"
                + "9GHWbEBs0xiSVNXoOcEmHwWk"
        ),
    ]

    /// The volume of the vectors: half MD4, signed.
    private let hash = DirectoryHash(
        .halfMD4, seed: (0xB107_F715, 0xA443_3C17, 0x7949_A79B, 0x096F_1CE0))

    private static func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = hexadecimal.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(digits[$0] * 16 + digits[$0 + 1])
        }
    }

    private func name(
        _ ciphertext: [UInt8], _ hash: DirectoryHash.Value = .init(major: 0, minor: 0)
    ) -> EncryptedName? {
        unsafe EncryptedName(ciphertext: ciphertext.span.bytes, hash: hash)
    }

    private func matches(_ name: EncryptedName, _ ciphertext: [UInt8]) -> Bool {
        unsafe name.matches(ciphertext: ciphertext.span.bytes)
    }

    @Test(arguments: vectors.indices)
    func equalsWhatLinuxShows(_ index: Int) throws {
        let ciphertext = Self.bytes(Self.vectors[index].ciphertext)
        let shown = Array(Self.vectors[index].shown.utf8)
        let hashed = unsafe hash.hash(of: ciphertext.span.bytes)
        let value = try #require(hashed)
        #expect(name(ciphertext, value)?.bytes == shown)

        let found = try #require(EncryptedName(shownAs: shown))
        #expect(found.hash == value)
        #expect(matches(found, ciphertext))
        for i in ciphertext.indices {
            var other = ciphertext
            other[i] ^= 0x10
            #expect(!matches(found, other), "byte \(i)")
        }
        #expect(!matches(found, Array(ciphertext.dropLast())))
        #expect(!matches(found, ciphertext + [0]))
    }

    @Test func everyLengthIsFoundAgain() throws {
        for length in 16...255 {
            let ciphertext = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 89 &+ length) }
            let shown = try #require(name(ciphertext)).bytes
            #expect(shown.count <= 252)
            let found = try #require(EncryptedName(shownAs: shown))
            #expect((found.digest == nil) == (length <= 149))
            #expect(matches(found, ciphertext))
        }
    }

    @Test func shortCiphertextsHaveNoName() {
        for length in 0..<16 { #expect(name([UInt8](repeating: 1, count: length)) == nil) }
    }

    @Test func otherNamesAreNoEncryptedOnes() {
        let longest = Base64URL.encode([UInt8](repeating: 7, count: 189))
        #expect(EncryptedName(shownAs: longest) != nil)
        // Nothing behind the hash, a digest cut off or too long, another alphabet, too long.
        for count in [0, 1, 8, 158, 188, 190] {
            let text = Base64URL.encode([UInt8](repeating: 7, count: count))
            #expect(EncryptedName(shownAs: text) == nil, "\(count) bytes")
        }
        #expect(EncryptedName(shownAs: Array("plain name.txt".utf8)) == nil)
        #expect(EncryptedName(shownAs: [UInt8](repeating: 0x41, count: 256)) == nil)
    }

    @Test func targetsOfSymlinks() throws {
        let ciphertext = (0..<32).map { UInt8($0) }
        let inode = InodeNumber(12)
        let contents = [32, 0] + ciphertext + [0]
        let target = unsafe try EncryptedSymlink.shownTarget(
            of: contents.span.bytes, at: inode)
        #expect(target == name(ciphertext)?.bytes)
        for bad in [[], [32], [32, 0], Array(contents[..<33]), [15, 0] + ciphertext, [0, 0, 0]] {
            #expect(throws: Ext4Error.self) {
                unsafe try EncryptedSymlink.shownTarget(of: bad.span.bytes, at: inode)
            }
        }
    }
}
