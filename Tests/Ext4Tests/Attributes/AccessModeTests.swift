import Testing

@testable import Ext4

@Suite struct AccessModeTests {
    private typealias List = AccessControlList

    private func list(_ entries: List.Entry...) -> List { List(entries) }

    private var full: List {
        list(
            .init(.userObject, [.read, .write, .execute]), .init(.user(1000), [.read, .write]),
            .init(.groupObject, [.read, .execute]), .init(.mask, [.read, .write]),
            .init(.other, .read))
    }

    private func mode(_ bits: UInt16, directory: Bool = false) -> FileMode {
        FileMode(rawValue: bits | (directory ? 0o040000 : 0o100000))
    }

    @Test func theMaskStandsForTheGroup() {
        #expect(full.permissionBits == 0o764)
        #expect(!full.isMinimal)
        for bits: UInt16 in [0, 0o755, 0o640, 0o777, 0o4321] {
            let minimal = List(permissionsOf: mode(bits))
            #expect(minimal.isMinimal)
            #expect(minimal.brokenRule == nil)
            #expect(minimal.permissionBits == bits & 0o777)
        }
    }

    @Test func chmodChangesTheMask() {
        let changed = full.changed(to: mode(0o4570))
        #expect(
            changed
                == list(
                    .init(.userObject, [.read, .execute]), .init(.user(1000), [.read, .write]),
                    .init(.groupObject, [.read, .execute]),
                    .init(.mask, [.read, .write, .execute]), .init(.other, [])))
        let minimal = List(permissionsOf: mode(0o777)).changed(to: mode(0o640))
        #expect(minimal == List(permissionsOf: mode(0o640)))
    }

    @Test func inheritance() {
        // A file asked for with 0666: nothing may be executed, the mask takes the group's part.
        let file = InheritedAccess(from: full, mode: mode(0o4666), umask: 0o077)
        #expect(file.mode == mode(0o4664))
        #expect(file.default == nil)
        #expect(
            file.access
                == list(
                    .init(.userObject, [.read, .write]), .init(.user(1000), [.read, .write]),
                    .init(.groupObject, [.read, .execute]), .init(.mask, [.read, .write]),
                    .init(.other, .read)))
        let directory = InheritedAccess(from: full, mode: mode(0o750, directory: true), umask: 0)
        #expect(directory.mode == mode(0o740, directory: true))
        #expect(directory.default == full)
        #expect(directory.access?.permissionBits == 0o740)
    }

    @Test func aMinimalDefaultListOnlyChangesTheMode() {
        let parent = List(permissionsOf: mode(0o750))
        let file = InheritedAccess(from: parent, mode: mode(0o666), umask: 0o777)
        #expect(file.mode == mode(0o640))
        #expect(file.access == nil && file.default == nil)
        let directory = InheritedAccess(from: parent, mode: mode(0o777, directory: true), umask: 0)
        #expect(directory.mode == mode(0o750, directory: true))
        #expect(directory.access == nil && directory.default == parent)
    }

    @Test func withoutADefaultListTheUmaskCounts() {
        let file = InheritedAccess(from: nil, mode: mode(0o6666), umask: 0o7022)
        #expect(file.mode == mode(0o6644))
        #expect(file.access == nil && file.default == nil)
        let link = FileMode(rawValue: 0o120777)
        #expect(InheritedAccess(from: full, mode: link, umask: 0o077).mode == link)
        #expect(InheritedAccess(from: full, mode: link, umask: 0o077).access == nil)
    }
}
