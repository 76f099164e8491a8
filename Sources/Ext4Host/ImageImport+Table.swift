internal import Ext4

extension ImageImport {
    /// Does what a table says with what is in the image by now. What is not there to be changed is
    /// a problem.
    ///
    /// - Throws: when nothing can be written any more.
    public func apply(_ table: DeviceTable) throws(Failure) {
        for line in table.lines {
            let path: ImagePath
            do throws(ImagePath.Problem) {
                path = try ImagePath(line.path)
            } catch {
                problem(line.path, error.words)
                continue
            }
            try apply(line, path)
        }
    }

    private func apply(_ line: DeviceTable.Line, _ path: ImagePath) throws(Failure) {
        guard let name = path.names.last else {
            guard line.kind == .directory || line.kind == .recursive else {
                return problem(line.path, "the root is a directory")
            }
            return try change(.root, line)
        }
        let makes = line.kind != .file && line.kind != .recursive
        guard
            let directory = try directory(path.names.dropLast(), makes: makes, line.path)
        else {
            if !makes { problem(line.path, "there is no such file") }
            return
        }
        let found = try attempt(line.path) { () throws(Ext4Error) in
            try builder.find(FileName(name), in: directory)
        }
        switch line.kind {
        case .file, .recursive:
            guard let node = found ?? nil else {
                return problem(line.path, "there is no such file")
            }
            try change(node, line)
        case .directory:
            if let node = found ?? nil, builder.type(of: node) == .directory {
                return try change(node, line)
            }
            try add(name, 0o040000, nil, in: directory, line)
        case .pipe: try add(name, 0o010000, nil, in: directory, line)
        case .socket: try add(name, 0o140000, nil, in: directory, line)
        case .characterDevice, .blockDevice:
            let type: UInt16 = line.kind == .blockDevice ? 0o060000 : 0o020000
            guard line.count > 0 else {
                let device = DeviceNumber(major: line.major, minor: line.minor)
                return try add(name, type, device, in: directory, line)
            }
            for index in 0..<line.count {
                let minor = line.minor &+ index &* line.increment
                let number = Array("\(UInt64(line.start) + UInt64(index))".utf8)
                try add(
                    name + number, type, DeviceNumber(major: line.major, minor: minor),
                    in: directory, line)
            }
        }
    }

    private func add(
        _ name: [UInt8], _ type: UInt16, _ device: DeviceNumber?, in directory: ImageNode,
        _ line: DeviceTable.Line
    ) throws(Failure) {
        let new = NewImageNode(
            mode: FileMode(rawValue: type | line.permissions), userID: line.userID,
            groupID: line.groupID, device: device)
        _ = try attempt(line.path) { () throws(Ext4Error) in
            try builder.add(FileName(name), in: directory, new)
        }
    }

    /// Changes owner and permissions; with `r`, of what is in a directory the owner too.
    private func change(_ node: ImageNode, _ line: DeviceTable.Line) throws(Failure) {
        _ = try attempt(line.path) { () throws(Ext4Error) in
            try builder.change(
                node, userID: line.userID, groupID: line.groupID, permissions: line.permissions)
            guard line.kind == .recursive else { return }
            var pending = [node]
            while let directory = pending.popLast() {
                guard builder.type(of: directory) == .directory else { continue }
                for (_, entry) in try builder.entries(of: directory) {
                    try builder.change(entry, userID: line.userID, groupID: line.groupID)
                    pending.append(entry)
                }
            }
        }
    }
}
