internal import ArgumentParser
internal import Glibc

/// An owner as an argument: `USER`, `USER:GROUP`, `USER:` for the user's own group, or `:GROUP`.
/// Names are those of this system; numbers are always right.
struct OwnerArgument: ExpressibleByArgument {
    var userID: UInt32?
    var groupID: UInt32?

    init?(argument: String) {
        let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let user = parts.first, !argument.isEmpty, argument != ":" else { return nil }
        if !user.isEmpty {
            guard let id = Self.number(user) ?? Self.user(named: String(user)) else { return nil }
            userID = id
        }
        guard parts.count > 1 else { return }
        let group = parts[1]
        if group.isEmpty {
            guard let userID, let id = Self.group(ofUser: userID) else { return nil }
            groupID = id
        } else if let id = Self.number(group) ?? Self.group(named: String(group)) {
            groupID = id
        } else {
            return nil
        }
    }

    /// A number; 2³² - 1 stands for no one in the calls of the system.
    private static func number(_ text: Substring) -> UInt32? {
        guard let id = UInt32(text.first == "+" ? text.dropFirst() : text), id != .max else {
            return nil
        }
        return id
    }

    private static func user(named name: String) -> UInt32? {
        unsafe getpwnam(name)?.pointee.pw_uid
    }

    private static func group(ofUser id: UInt32) -> UInt32? {
        unsafe getpwuid(id)?.pointee.pw_gid
    }

    private static func group(named name: String) -> UInt32? {
        unsafe getgrnam(name)?.pointee.gr_gid
    }
}
