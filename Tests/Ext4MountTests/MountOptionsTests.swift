import Ext4
import Ext4Mount
import Glibc
import Testing

@Suite struct MountOptionsTests {
    @Test func readsWhatMattersForReading() throws {
        let options = try MountOptions(parsing: ["ro,noload,sb=32768", "noacl,errors=panic,noexec"])
        #expect(options.writes == false)
        #expect(options.ignoresJournal)
        #expect(options.superblock == 32768)
        #expect(!options.accessControlLists)
        #expect(options.errors == .panic)
        #expect(options.kernelFlags == ["noexec"])
    }

    @Test func takesALineOfFstab() throws {
        let line = "defaults,noatime,errors=remount-ro,commit=30,data=ordered,x-systemd.automount"
        let options = try MountOptions(parsing: [line + ",nofail,discard,stripe=16,x-a=b"])
        #expect(options.writes == nil)
        #expect(options.errors == .remountReadOnly)
        #expect(options.kernelFlags == ["noatime"])
    }

    @Test(arguments: [
        ("sb=x", "sb=x: not a block number"),
        ("errors=never", "errors=never: must be continue, remount-ro or panic"),
        ("dax", "unknown mount option dax"), ("a,ro,b=c", "unknown mount options a, b"),
        ("cache=9K", "cache=9K: must be a size, 64K or more"),
        ("cache=many", "cache=many: must be a size, 64K or more"),
        ("ro=1", "unknown mount option ro"), ("sb", "unknown mount option sb"),
    ])
    func namesWhatItRefuses(_ list: String, _ words: String) {
        #expect { try MountOptions(parsing: [list]) } throws: { "\($0)" == words }
    }

    @Test(arguments: [("cache=8M", 8 << 20), ("cache=65536", 65536), ("cache=1g", 1 << 30)])
    func takesASizeOfTheCache(_ list: String, _ bytes: Int) throws {
        #expect(try MountOptions(parsing: [list]).cacheBytes == bytes)
    }

    @Test func laterOnesWin() throws {
        #expect(try MountOptions(parsing: ["rw,ro"]).writes == false)
        #expect(try MountOptions(parsing: ["ro,rw"]).writes == true)
    }
}

@Suite struct ErrorNumberTests {
    @Test func everyErrorHasItsNumber() {
        #expect(Ext4Error.notFound.errorNumber == ENOENT)
        #expect(Ext4Error.nameTooLong.errorNumber == ENAMETOOLONG)
        #expect(Ext4Error.noKey.errorNumber == 126)
        #expect(Ext4Error.corrupt(Corruption(.inode, .cycle)).errorNumber == 117)
        #expect(Ext4Error.io(IOFailure(.read, at: 0, count: 1, errno: EIO)).errorNumber == EIO)
        #expect(Ext4Error.io(IOFailure(.read, at: 0, count: 1, errno: 0)).errorNumber == EIO)
        #expect(Ext4Error.io(IOFailure(.read, at: 0, count: 1, errno: 71)).errorNumber == 71)
    }
}
