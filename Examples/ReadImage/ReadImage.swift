internal import Ext4

@main
enum ReadImage {
    static func main() { print(InodeNumber.root) }
}
