internal import ArgumentParser

@main
struct Ext4Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ext4", abstract: "Read, show and mount ext2, ext3 and ext4 file systems.")
}
