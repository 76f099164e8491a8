// Lists the root directory of an image and prints one of its files: what the README shows.
//
//     swift run ReadImage disk.img /etc/hostname

import Ext4
import Ext4Host

@main
enum ReadImage {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count > 1 else { return print("usage: ReadImage IMAGE [FILE]") }

        // A path of an image or a device, or any `BlockDevice`: nothing is mounted, nothing written.
        let volume = try Volume.open(path: arguments[1])
        for entry in try volume.entries(of: volume.root()) {
            let inode = try volume.inode(entry.inode)
            print(inode.type, inode.size, entry.name)
        }

        guard arguments.count > 2 else { return }
        let file = try volume.inode(atPath: arguments[2])
        print(String(decoding: try volume.contents(of: file), as: UTF8.self))
        for attribute in try volume.extendedAttributes(of: file) {
            print(attribute.name, attribute.value)
        }
    }
}
