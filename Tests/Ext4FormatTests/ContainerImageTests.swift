import Ext4
import Ext4Host
import TestShell
import Testing

/// Images of containers in the layout of the OCI: layers, what they take away, and what is wrong.
@Suite struct ContainerImageTests {
    /// A layout that is being made.
    private struct Layout {
        let scratch: ScratchDirectory
        var index: [String] = []

        init() throws {
            scratch = try ScratchDirectory()
            try shell("mkdir -p $1/oci/blobs/sha256", scratch.root)
            try scratch.write(
                Array("{\"imageLayoutVersion\":\"1.0.0\"}".utf8), to: "oci/oci-layout")
        }

        /// Keeps a file, and returns what a manifest says of it.
        func add(_ bytes: [UInt8], _ type: String, _ more: String = "") throws -> String {
            try scratch.write(bytes, to: "blob")
            let digest = try shell(
                """
                sum=$(sha256sum $1/blob | cut -d' ' -f1)
                mv $1/blob $1/oci/blobs/sha256/$sum
                printf %s $sum
                """, scratch.root)
            return "{\"mediaType\":\"application/vnd.oci.image.\(type)\","
                + "\"digest\":\"sha256:\(digest)\",\"size\":\(bytes.count)\(more)}"
        }

        func manifest(_ layers: [[UInt8]], _ more: String = "") throws -> String {
            let config = try add(Array("{}".utf8), "config.v1+json")
            let described = try layers.map { try add($0, "layer.v1.tar") }
            let text =
                "{\"schemaVersion\":2,\"config\":\(config),"
                + "\"layers\":[\(described.joined(separator: ","))]}"
            return try add(Array(text.utf8), "manifest.v1+json", more)
        }

        func finish(_ manifests: [String]) throws {
            let text = "{\"schemaVersion\":2,\"manifests\":[\(manifests.joined(separator: ","))]}"
            try scratch.write(Array(text.utf8), to: "oci/index.json")
        }

        func open(
            _ reference: String? = nil, _ platform: ContainerImage.Platform? = nil
        ) throws -> ContainerImage {
            try ContainerImage(
                directory: scratch.bytes(ofPath: "oci"), reference: reference, platform: platform)
        }
    }

    private func tar(_ fill: (inout TarBytes) -> Void) -> [UInt8] {
        var tar = TarBytes()
        fill(&tar)
        return tar.ended
    }

    /// The names and contents of the files in an image made of layers.
    private func files(_ layers: [[UInt8]], _ image: TestImage) throws -> [String: [UInt8]] {
        var layout = try Layout()
        layout.index = [try layout.manifest(layers)]
        try layout.finish(layout.index)
        let container = try layout.open()
        try container.verify()
        let tree = ImageImport(image.builder, ImageImport.Options()) { event in
            if case .problem(let path, let words) = event {
                Issue.record("\(FileName(path)): \(words)")
            }
        }
        try tree.addContainer(container)
        var files: [String: [UInt8]] = [:]
        for (path, shown) in try image.finish().shownTree() where shown.type != .directory {
            files["\(path)"] = shown.contents
        }
        return files
    }

    @Test(arguments: [ImageKind.ext4, .inline])
    func laterLayersTakeAway(_ kind: ImageKind) throws {
        let one = tar {
            $0.add("etc/one", contents: [1])
            $0.add("etc/two", contents: [2])
            $0.add("etc/gone", contents: [3])
            $0.add("opt/app/", "5")
            $0.add("opt/app/old/deep", contents: [4])
            $0.add("opt/app/stays", contents: [5])
            $0.add("usr/lib/library", contents: [6])
            $0.add("lib", "2", link: "usr/lib")
            $0.add("var/a", contents: [7])
            $0.add("var/b", "1", link: "var/a")
            $0.add("directory/in", contents: [8])
        }
        let two = tar {
            $0.add("etc/two", contents: [22])
            $0.add("etc/.wh.gone")
            $0.add("opt/app/new", contents: [24])
            $0.add("opt/app/.wh..wh..opq")
            $0.add("lib/.wh.library")
            $0.add("lib/through", contents: [26])
            $0.add("var/.wh.a")
            $0.add(".wh.directory")
            $0.add("etc/.wh.nothing")
            $0.add("nowhere/.wh.x")
            $0.add("nowhere/.wh..wh..opq")
            $0.add(".wh..wh.plnk/1", contents: [1])
            $0.add(".wh..wh.aufs", contents: [1])
            $0.add(".wh.")
            $0.add("etc/.wh...")
            $0.add(".wh.lost+found")
        }
        let three = tar {
            $0.add("etc/gone", contents: [33])
            $0.add("directory", contents: [38])
        }
        let files = try files([one, two, three], TestImage(kind))
        #expect(
            files == [
                "etc/one": [1], "etc/two": [22], "etc/gone": [33], "opt/app/new": [24],
                "lib": Array("usr/lib".utf8), "usr/lib/through": [26], "var/b": [7],
                "directory": [38],
            ])
    }

    /// A directory becomes a file, and the layer says of what was in it that it is gone, before or
    /// after: umoci writes such layers.
    @Test(arguments: [true, false])
    func nothingIsBelowAFile(_ isFirst: Bool) throws {
        let below = tar {
            $0.add("a/b", contents: [1])
            $0.add("a/c/d", contents: [2])
        }
        let above = tar { tar in
            if isFirst { tar.add("a", contents: [3]) }
            tar.add("a/.wh.b")
            tar.add("a/c/.wh..wh..opq")
            if !isFirst { tar.add("a", contents: [3]) }
        }
        #expect(try files([below, above], TestImage(.ext4)) == ["a": [3]])
    }

    /// What takes away applies to the layers below, wherever in its own it stands, and whether or
    /// not that names the directories on the way.
    @Test(arguments: [true, false], [true, false])
    func whatALayerAddsItKeeps(_ isFirst: Bool, _ namesDirectories: Bool) throws {
        let below = tar {
            $0.add("a/b/old", contents: [1])
            $0.add("c/d/old", contents: [2])
            $0.add("e", contents: [3])
        }
        let above = tar { tar in
            func remove() {
                tar.add(".wh.a")
                tar.add("c/.wh..wh..opq")
                tar.add(".wh.e")
            }
            if isFirst { remove() }
            if namesDirectories { for name in ["a", "a/b", "c", "c/d"] { tar.add(name, "5") } }
            tar.add("a/b/new", contents: [11])
            tar.add("c/d/new", contents: [12])
            tar.add("e", contents: [13])
            if !isFirst { remove() }
        }
        let files = try files([below, above], TestImage())
        #expect(files == ["a/b/new": [11], "c/d/new": [12], "e": [13]])
    }

    /// A hard link is of its layer, also where what it leads to is of one below.
    @Test(arguments: ["d/.wh..wh..opq", ".wh.d", "d/.wh.new"])
    func linksOfALayerStay(_ whiteout: String) throws {
        let below = tar {
            $0.add("base", contents: [1])
            $0.add("d/old", contents: [2])
        }
        let above = tar {
            $0.add("d/new", "1", link: "base")
            $0.add(whiteout)
        }
        let expected = ["base": [1], "d/new": [1]] as [String: [UInt8]]
        let old = whiteout == "d/.wh.new" ? ["d/old": [2]] as [String: [UInt8]] : [:]
        #expect(try files([below, above], TestImage()) == expected.merging(old) { $1 })
    }

    /// Of what a later layer replaces or removes, nothing is written.
    @Test func nothingIsWrittenInVain() throws {
        let below = tar {
            $0.add("replaced", contents: pattern(3 << 20))
            $0.add("removed", contents: pattern(2 << 20))
            $0.add("kept", contents: pattern(5000))
        }
        let above = tar {
            $0.add("replaced", contents: [1])
            $0.add(".wh.removed")
        }
        let image = try TestImage()
        let files = try files([below, above], image)
        #expect(files == ["replaced": [1], "kept": pattern(5000)])
        #expect(image.byteCount < 200_000)
    }

    /// The names of several layers are read first, on a volume that may become as large.
    @Test func aVolumeMayBecomeLarge() throws {
        let image = try TestImage(
            ImageKind.ext4.options, size: .automatic(free: 0, limit: 16 << 40))
        let below = tar { $0.add("a", contents: [1]) }
        let above = tar { $0.add("b", contents: [2]) }
        #expect(try files([below, above], image) == ["a": [1], "b": [2]])
    }

    /// As deep as nobody's are, named and taken away again.
    @Test func directoriesMayBeDeep() throws {
        let depth = 2000
        let path = Array(String(repeating: "d/", count: depth).utf8)
        let below = tar {
            $0.addAttributes([("path", path + [0x66])])
            $0.add("f", contents: [1])
        }
        let above = tar { tar in
            tar.addAttributes([("path", path + [0x67])])
            tar.add("g", contents: [2])
            tar.add(".wh.d")
        }
        let files = try files([below, above], TestImage())
        #expect(files.values.map { $0 } == [[2]])
        #expect(files.keys.first == String(repeating: "d/", count: depth) + "g")
    }

    @Test func theImageThatIsMeantIsTaken() throws {
        let layout = try Layout()
        func platform(_ name: String) -> String {
            ",\"platform\":{\"os\":\"linux\",\"architecture\":\"\(name)\"}"
        }
        func layer(_ name: String) -> [UInt8] { tar { $0.add(name, contents: [1]) } }
        let list = [
            try layout.manifest([layer("intel")], platform("amd64")),
            try layout.manifest([layer("arm"), layer("more")], platform("arm64")),
        ]
        let text = "{\"schemaVersion\":2,\"manifests\":[\(list.joined(separator: ","))]}"
        let name = ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"app:1.0\"}"
        let both = try layout.add(Array(text.utf8), "index.v1+json", name)
        let other = try layout.manifest(
            [layer("other")], name.replacing("app:1.0", with: "other"))
        try layout.finish([both, other])
        let arm = try #require(ContainerImage.Platform("linux/arm64"))
        let intel = try #require(ContainerImage.Platform("linux/amd64"))
        #expect(try layout.open("app:1.0", arm).layers.count == 2)
        #expect(try layout.open("app:1.0", intel).layers.count == 1)
        #expect(try layout.open("other", arm).layers.count == 1)
        for (reference, text, words) in [
            (nil, "linux/amd64", "there are several images"),
            ("no", "linux/amd64", "app:1.0, other"),
            ("app:1.0", "linux/s390x", "linux/amd64, linux/arm64"),
        ] as [(String?, String, String)] {
            let platform = try #require(ContainerImage.Platform(text))
            let problem = #expect(throws: ContainerImage.Problem.self) {
                try layout.open(reference, platform)
            }
            #expect("\(try #require(problem))".contains(words), "\(String(describing: problem))")
        }
        // However it is listed: flat, under one name, alone, alone in a list of its own.
        func plain(_ index: [String]) throws -> String {
            try layout.add(
                Array("{\"manifests\":[\(index.joined(separator: ","))]}".utf8), "index.v1+json")
        }
        let named = list.map { $0.replacing(",\"platform\"", with: "\(name),\"platform\"") }
        for (index, reference) in [(list, nil), (named, "app:1.0"), (named, nil)] {
            try layout.finish(index)
            #expect(try layout.open(reference, arm).layers.count == 2)
            #expect(try layout.open(reference, intel).layers.count == 1)
        }
        for index in [[list[0]], [try plain([list[0]])]] {
            try layout.finish(index)
            #expect(try layout.open(nil, intel).layers.count == 1)
            #expect(try layout.open().layers.count == 1)
            #expect(throws: ContainerImage.Problem.self) { try layout.open(nil, arm) }
        }
        let twins = [layer("one"), layer("two")].map { try? layout.manifest([$0], name) }
        try layout.finish(twins.compactMap { $0 })
        #expect(throws: ContainerImage.Problem.self) { try layout.open("app:1.0") }
        for text in ["linux", "", "/", "linux/", "a/b/c/d"] {
            #expect(ContainerImage.Platform(text) == nil, "\(text)")
        }
    }

    @Test func whatIsDamagedIsRefused() throws {
        let layout = try Layout()
        let layer = tar { $0.add("a", contents: pattern(5000)) }
        func refuse(_ manifests: [String], _ words: String) throws {
            try layout.finish(manifests)
            let problem = #expect(throws: ContainerImage.Problem.self) {
                try layout.open().verify()
            }
            #expect("\(try #require(problem))".contains(words), "\(String(describing: problem))")
        }
        let manifest = try layout.manifest([layer])
        try layout.finish([manifest])
        try layout.open().verify()
        try refuse([], "lists no image")
        try refuse([manifest.replacing("sha256:", with: "sha512:")], "no digest of SHA-256")
        let digest = "sha256:" + String(repeating: "../", count: 21) + "x"
        try refuse(["{\"digest\":\"\(digest)\",\"size\":1}"], "no digest of SHA-256")
        try refuse(["{\"size\":1}"], "has no digest")
        let none = "sha256:" + String(repeating: "0", count: 64)
        try refuse(["{\"digest\":\"\(none)\",\"size\":1}"], "cannot open")
        try refuse(["{\"digest\":\"\(none)\",\"size\":99999999}"], "more than 4 MiB")
        let text = "{\"schemaVersion\":2,\"layers\":[\(try layout.add(layer, "layer.v1.zip"))]}"
        try refuse([try layout.add(Array(text.utf8), "manifest.v1+json")], "no tar archive")
        try refuse([try layout.add(Array("{}".utf8), "manifest.v1+json")], "has no layers")
        try refuse([try layout.add(Array("{".utf8), "manifest.v1+json")], "")
        // One byte of the layer, which is the largest file.
        try layout.finish([manifest])
        try shell(
            """
            cd $1/oci/blobs/sha256; file=$(ls -S | head -1)
            printf X | dd of=$file bs=1 seek=600 conv=notrunc status=none
            """, layout.scratch.root)
        try refuse([manifest], "do not match its digest")
        try shell("cd $1/oci/blobs/sha256; echo >> $(ls -S | head -1)", layout.scratch.root)
        try refuse([manifest], "bytes and not")
        try layout.scratch.write(
            Array("{\"imageLayoutVersion\":\"2.0.0\"}".utf8), to: "oci/oci-layout")
        try refuse([manifest], "no version that is known")
    }
}
