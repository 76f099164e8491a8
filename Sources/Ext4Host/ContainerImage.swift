internal import Ext4
internal import Glibc

// A container image in a directory of the host, in the layout that the OCI describes: `oci-layout`,
// `index.json`, and every other file under `blobs` by its SHA-256. Each file is compared with its
// digest before it is used.

/// A container image in an OCI layout.
public struct ContainerImage: Sendable {
    /// Why there is no such image, in words.
    public struct Problem: Error, Hashable, Sendable, CustomStringConvertible {
        /// The words.
        public let description: String

        init(_ description: String) { self.description = description }
    }

    /// What a system runs: `linux/amd64`, `linux/arm64/v8`.
    public struct Platform: Hashable, Sendable, CustomStringConvertible {
        /// The operating system.
        public var system: String
        /// The processor.
        public var architecture: String
        /// Its variant; nil for any.
        public var variant: String?

        /// Linux on the processor that this runs on.
        public static var host: Platform {
            #if arch(arm64)
                Platform(system: "linux", architecture: "arm64")
            #elseif arch(riscv64)
                Platform(system: "linux", architecture: "riscv64")
            #else
                Platform(system: "linux", architecture: "amd64")
            #endif
        }

        init(system: String, architecture: String, variant: String? = nil) {
            self.system = system
            self.architecture = architecture
            self.variant = variant
        }

        /// Reads `system/architecture` or `system/architecture/variant`.
        public init?(_ text: String) {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2 || parts.count == 3, parts.allSatisfy({ !$0.isEmpty }) else {
                return nil
            }
            system = String(parts[0])
            architecture = String(parts[1])
            variant = parts.count > 2 ? String(parts[2]) : nil
        }

        /// As it is written.
        public var description: String {
            "\(system)/\(architecture)" + (variant.map { "/\($0)" } ?? "")
        }
    }

    /// A file of the layout.
    public struct Blob: Hashable, Sendable {
        /// The digest: 64 hexadecimal digits.
        let digest: String
        let size: UInt64
        let mediaType: String
    }

    /// The layers, the lowest first.
    public let layers: [Blob]
    private let directory: [UInt8]

    /// The most bytes that a description has.
    private static let descriptionLimit: UInt64 = 4 << 20
    /// How many lists of images lie within each other.
    private static let mostLevels = 4

    /// Opens the layout in a directory.
    ///
    /// - Parameters:
    ///   - reference: the name of the image (`org.opencontainers.image.ref.name`) or its digest; nil
    ///     where there is only one.
    ///   - platform: which one is taken of an image that is there for several.
    public init(
        directory: [UInt8], reference: String? = nil, platform: Platform = .host
    ) throws(Problem) {
        self.directory = directory
        let layout = try Self.json(directory + Array("/oci-layout".utf8))
        guard let version = layout["imageLayoutVersion"]?.string, version.hasPrefix("1.") else {
            throw Problem("\(Quoted(directory)): its oci-layout is of no version that is known")
        }
        let index = try Self.json(directory + Array("/index.json".utf8))
        var manifest = try Self.choose(
            index, reference: reference, platform: nil, directory: directory)
        var level = 0
        while true {
            let value = try Self.json(manifest, in: directory)
            if let layers = value["layers"]?.array {
                self.layers = try layers.map { (layer) throws(Problem) in
                    try Self.blob(layer, directory)
                }
                break
            }
            level += 1
            guard level <= Self.mostLevels, value["manifests"] != nil else {
                throw Problem("\(Quoted(directory)): the manifest \(manifest.digest) has no layers")
            }
            manifest = try Self.choose(
                value, reference: nil, platform: platform, directory: directory)
        }
        for layer in layers {
            guard layer.mediaType.contains(".tar") || layer.mediaType.isEmpty,
                !layer.mediaType.contains("encrypted")
            else {
                throw Problem(
                    "\(Quoted(directory)): a layer is \(Quoted(layer.mediaType.utf8)), "
                        + "which is no tar archive")
            }
        }
    }

    /// Compares every layer with its digest.
    ///
    /// - Throws: which layer is not what it should be.
    public func verify() throws(Problem) {
        for layer in Set(layers) { _ = try Self.contents(layer, in: directory, isKept: false) }
    }

    /// Where a file of the layout is.
    func path(of blob: Blob) -> [UInt8] { Self.path(of: blob, in: directory) }

    private static func path(of blob: Blob, in directory: [UInt8]) -> [UInt8] {
        directory + Array("/blobs/sha256/\(blob.digest)".utf8)
    }

    // MARK: Descriptions

    private static func blob(
        _ value: JSONValue, _ directory: [UInt8]
    ) throws(Problem) -> Blob {
        guard let digest = value["digest"]?.string, let size = value["size"]?.integer else {
            throw Problem("\(Quoted(directory)): a descriptor has no digest or no size")
        }
        let parts = digest.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, parts[0] == "sha256", parts[1].utf8.count == 64,
            parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
        else {
            throw Problem(
                "\(Quoted(directory)): \(Quoted(digest.utf8)) is no digest of SHA-256, "
                    + "the only kind that is known")
        }
        return Blob(
            digest: String(parts[1]), size: size, mediaType: value["mediaType"]?.string ?? "")
    }

    /// The image of a list that is meant.
    private static func choose(
        _ index: JSONValue, reference: String?, platform: Platform?, directory: [UInt8]
    ) throws(Problem) -> Blob {
        let manifests = index["manifests"]?.array ?? []
        guard !manifests.isEmpty else {
            throw Problem("\(Quoted(directory)): it lists no image")
        }
        func name(_ manifest: JSONValue) -> String? {
            manifest["annotations"]?["org.opencontainers.image.ref.name"]?.string
        }
        if let reference {
            for manifest in manifests
            where name(manifest) == reference || manifest["digest"]?.string == reference {
                return try blob(manifest, directory)
            }
            let names = manifests.compactMap(name).map { "\(Quoted($0.utf8))" }
            throw Problem(
                "\(Quoted(directory)): there is no image \(Quoted(reference.utf8)); there is "
                    + (names.isEmpty ? "none with a name" : names.joined(separator: ", ")))
        }
        if manifests.count == 1 { return try blob(manifests[0], directory) }
        guard let platform else {
            let names = manifests.compactMap { name($0) ?? $0["digest"]?.string }
            // One image for several platforms may also be listed without a list of its own.
            let isOne = Set(manifests.map { name($0) }).count == 1
            guard isOne, manifests.allSatisfy({ $0["platform"] != nil }) else {
                throw Problem(
                    "\(Quoted(directory)): there are several images; name one: "
                        + names.map { "\(Quoted($0.utf8))" }.joined(separator: ", "))
            }
            return try choose(
                index, reference: nil, platform: .host, directory: directory)
        }
        var platforms: [String] = []
        for manifest in manifests {
            guard let system = manifest["platform"]?["os"]?.string,
                let architecture = manifest["platform"]?["architecture"]?.string
            else { continue }
            let variant = manifest["platform"]?["variant"]?.string
            let found = Platform(system: system, architecture: architecture, variant: variant)
            platforms.append(found.description)
            if system == platform.system, architecture == platform.architecture,
                platform.variant == nil || platform.variant == variant
            {
                return try blob(manifest, directory)
            }
        }
        throw Problem(
            "\(Quoted(directory)): the image is not there for \(platform); it is for "
                + platforms.map { "\(Quoted($0.utf8))" }.joined(separator: ", "))
    }

    // MARK: Files

    private static func json(_ blob: Blob, in directory: [UInt8]) throws(Problem) -> JSONValue {
        try parse(try contents(blob, in: directory, isKept: true), path(of: blob, in: directory))
    }

    private static func json(_ path: [UInt8]) throws(Problem) -> JSONValue {
        var bytes: [UInt8] = []
        let size = try read(path) { part in
            if bytes.count <= Int(descriptionLimit) { bytes += part }
        }
        guard size <= descriptionLimit else {
            throw Problem("\(Quoted(path)): more than 4 MiB are no description")
        }
        return try parse(bytes, path)
    }

    private static func parse(_ bytes: [UInt8], _ path: [UInt8]) throws(Problem) -> JSONValue {
        do throws(JSONValue.Problem) {
            return try JSONValue(parsing: bytes)
        } catch {
            throw Problem("\(Quoted(path)): \(error)")
        }
    }

    /// Reads a file of the layout and compares it with its digest.
    private static func contents(
        _ blob: Blob, in directory: [UInt8], isKept: Bool
    ) throws(Problem) -> [UInt8] {
        let path = path(of: blob, in: directory)
        guard !isKept || blob.size <= descriptionLimit else {
            throw Problem("\(Quoted(path)): more than 4 MiB are no description")
        }
        var bytes: [UInt8] = []
        var digest = SHA256.Running()
        let size = try read(path) { part in
            unsafe digest.update(part.span.bytes)
            if isKept, bytes.count <= Int(descriptionLimit) { bytes += part }
        }
        guard size == blob.size else {
            throw Problem("\(Quoted(path)): it has \(size) bytes and not \(blob.size)")
        }
        let hexadecimal = digest.digest().map { byte in
            String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }
        guard hexadecimal.joined() == blob.digest else {
            throw Problem("\(Quoted(path)): its contents do not match its digest")
        }
        return bytes
    }

    /// Calls `body` with the contents of a file, part by part.
    ///
    /// - Returns: how many bytes there are.
    private static func read(
        _ path: [UInt8], _ body: (ArraySlice<UInt8>) -> Void
    ) throws(Problem) -> UInt64 {
        guard let name = CPath(path) else { throw Problem("no such file") }
        let descriptor = unsafe open(name.bytes, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Problem("cannot open \(Quoted(path)): \(SystemFailure.words(for: errno))")
        }
        defer { close(descriptor) }
        var part = [UInt8](repeating: 0, count: 1 << 20)
        var size: UInt64 = 0
        while true {
            let count = unsafe part.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
            }
            if count == 0 { return size }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw Problem("cannot read \(Quoted(path)): \(SystemFailure.words(for: errno))")
            }
            size &+= UInt64(count)
            body(part[..<count])
        }
    }
}
