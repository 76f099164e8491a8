import Testing

@testable import Ext4

@Suite struct DigestTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// The messages of FIPS 180-4 and of NIST's examples.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func sha256(_ message: String, _ digest: String) {
        let bytes = Array(message.utf8)
        #expect(hexadecimal(unsafe SHA256.digest(of: bytes.span.bytes)) == digest)
    }

    /// As `sha256sum` prints them, around the places where the padding takes a block more.
    @Test(arguments: [
        (55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"),
        (56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"),
        (63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"),
        (64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"),
        (65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"),
    ])
    func sha256OfLetters(_ count: Int, _ digest: String) {
        let bytes = [UInt8](repeating: 0x61, count: count)
        #expect(hexadecimal(unsafe SHA256.digest(of: bytes.span.bytes)) == digest)
    }

    /// The texts of RFC 4648 §10, without their padding.
    @Test(arguments: [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"),
        ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy"),
    ])
    func base64URL(_ plain: String, _ text: String) {
        #expect(Base64URL.encode(Array(plain.utf8)) == Array(text.utf8))
        #expect(Base64URL.decode(Array(text.utf8)) == Array(plain.utf8))
    }

    @Test func base64URLUsesTheAlphabetOfFileNames() {
        #expect(Base64URL.encode([0xFB, 0xEF, 0xFF]) == Array("--__".utf8))
        #expect(Base64URL.decode(Array("--__".utf8)) == [0xFB, 0xEF, 0xFF])
    }

    /// Characters of the other alphabet, padding, one character too many, bits that are no byte's.
    @Test(arguments: ["+A", "/A", "Zg==", "Z", "Zm9vZ", "Zh", "Zm9", "Zg\u{e9}"])
    func base64URLRefuses(_ text: String) {
        #expect(Base64URL.decode(Array(text.utf8)) == nil)
    }
}
