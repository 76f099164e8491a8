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

        /// Whether what is for `other` is for this one, too.
        func includes(_ other: Platform) -> Bool {
            system == other.system && architecture == other.architecture
                && (variant == nil || other.variant == nil || variant == other.variant)
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
    ///   - platform: which one the image must be for; with nil, of one that is there for several the
    ///     one for `Platform.host`.
    public init(
        directory: [UInt8], reference: String? = nil, platform: Platform? = nil
    ) throws(Problem) {
        self.directory = directory
        let layout = try Self.json(directory + Array("/oci-layout".utf8))
        guard let version = layout["imageLayoutVersion"]?.string, version.hasPrefix("1.") else {
            throw Problem("\(Quoted(directory)): its oci-layout is of no version that is known")
        }
        let index = try Self.json(directory + Array("/index.json".utf8))
        var manifest = try Self.choose(
            Self.named(reference, in: index, directory), platform, directory)
        var level = 0
        while true {
            let value = try Self.json(manifest, in: directory)
            if let layers = value["layers"]?.array {
                if let platform, let config = value["config"] {
                    try Self.check(Self.blob(config, directory), is: platform, directory)
                }
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
                value["manifests"]?.array ?? [], platform, directory)
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

    /// The images of a list that are meant: those with that name or digest, or without one all of
    /// them, when they are one image for several platforms.
    private static func named(
        _ reference: String?, in index: JSONValue, _ directory: [UInt8]
    ) throws(Problem) -> [JSONValue] {
        let manifests = index["manifests"]?.array ?? []
        func name(_ manifest: JSONValue) -> String? {
            manifest["annotations"]?["org.opencontainers.image.ref.name"]?.string
        }
        guard let reference else {
            // Without a list of its own an image for several platforms may stand here, too.
            let isOne = Set(manifests.map { name($0) }).count <= 1
            guard manifests.count <= 1 || isOne && manifests.allSatisfy({ $0["platform"] != nil })
            else {
                let names = manifests.compactMap { name($0) ?? $0["digest"]?.string }
                throw Problem(
                    "\(Quoted(directory)): there are several images; name one: "
                        + names.map { "\(Quoted($0.utf8))" }.joined(separator: ", "))
            }
            return manifests
        }
        let found = manifests.filter {
            name($0) == reference || $0["digest"]?.string == reference
        }
        guard found.isEmpty else { return found }
        let names = manifests.compactMap(name).map { "\(Quoted($0.utf8))" }
        throw Problem(
            "\(Quoted(directory)): there is no image \(Quoted(reference.utf8)); there is "
                + (names.isEmpty ? "none with a name" : names.joined(separator: ", ")))
    }

    /// The platform that a descriptor, or a configuration, says.
    private static func platform(_ value: JSONValue?) -> Platform? {
        guard let system = value?["os"]?.string, let architecture = value?["architecture"]?.string
        else { return nil }
        return Platform(
            system: system, architecture: architecture, variant: value?["variant"]?.string)
    }

    /// The one of some descriptors that is for a platform.
    private static func choose(
        _ manifests: [JSONValue], _ platform: Platform?, _ directory: [UInt8]
    ) throws(Problem) -> Blob {
        guard let first = manifests.first else {
            throw Problem("\(Quoted(directory)): it lists no image")
        }
        let found = manifests.map { Self.platform($0["platform"]) }
        // Nobody asked for one, or it is not told here: the image itself may tell.
        let isOne = Set(manifests.map { $0["digest"]?.string }).count == 1
        if isOne, platform == nil || found[0] == nil { return try blob(first, directory) }
        let wanted = platform ?? .host
        for (manifest, stated) in zip(manifests, found) {
            if let stated, wanted.includes(stated) { return try blob(manifest, directory) }
        }
        let stated = found.compactMap { $0.map { "\(Quoted($0.description.utf8))" } }
        throw Problem(
            "\(Quoted(directory)): "
                + (stated.isEmpty
                    ? "several images have that name, and nothing tells them apart; name one by "
                        + "its digest"
                    : "the image is not there for \(wanted); it is for "
                        + stated.joined(separator: ", ")))
    }

    /// Refuses an image whose configuration says that it is for another platform.
    private static func check(
        _ config: Blob, is platform: Platform, _ directory: [UInt8]
    ) throws(Problem) {
        guard let stated = Self.platform(try json(config, in: directory)),
            !platform.includes(stated)
        else { return }
        throw Problem(
            "\(Quoted(directory)): the image is not there for \(platform); it is for \(stated)")
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
