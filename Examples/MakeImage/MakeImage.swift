import Ext4
import Ext4Host

/// Makes an image with what is in a folder, as small as it can be, and a file of its own:
/// `MakeImage FOLDER IMAGE`.
@main
struct MakeImage {
    static func main() throws {
        let arguments = CommandLine.arguments.dropFirst().map { Array($0.utf8) }
        guard arguments.count == 2 else { return print("usage: MakeImage FOLDER IMAGE") }

        // The same options and the same tree make the same bytes.
        let options = FormatOptions(
            uuid: Array(1...16), hashSeed: Array(1...16), time: Timestamp(seconds: 1_700_000_000))
        let image = try NewImage(path: arguments[1], byteCount: 1 << 40)
        let builder = try ImageBuilder(image.device, options, size: .automatic(free: 16 << 20))

        let tree = ImageImport(builder, ImageImport.Options()) { event in
            if case .problem(let path, let words) = event { print("\(Quoted(path)): \(words)") }
        }
        try tree.addTree(at: arguments[0])

        let etc = try builder.find("etc", in: .root) ?? builder.add("etc", in: .root, .directory())
        let name = try builder.addFile(
            "hostname", in: etc, .file(), contents: Array("box\n".utf8))
        try builder.addLink("hostname.old", in: etc, to: name)

        // Under its name, and complete.
        try image.commit(byteCount: builder.finish(), replaces: true)
    }
}
