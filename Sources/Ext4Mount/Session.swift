internal import CFuse3
internal import Ext4
internal import Glibc
internal import Synchronization

// One mounted volume, as the kernel's requests see it: request -> call of the engine -> reply.
//
//  1. A session keeps no state of a file: the kernel is told once that open and opendir are not
//     needed, and every request names its inode. What it does keep, in the volume, is how often the
//     kernel was told of an inode and has not forgotten it: so long a file lives without a name.
//  2. A node of FUSE is an inode's number, except that the root is 1 there and 2 on the volume.
//     Inode 1, the list of bad blocks, is never reached by a name, so 1 is free.
//  3. Nobody else writes to the volume, so the kernel may keep whatever it is told for ever; what
//     its own requests change, it knows or asks for again.
//  4. A request passes the gate, and so does whoever else looks at the volume: behind a closed one
//     the volume may become another, which is longer.
//  5. Every request is answered exactly once; the functions of `Session+….swift` end in a reply
//     or throw, and `answer` turns what is thrown into a reply.

@safe
final class Session: @unchecked Sendable {
    /// How long the kernel may keep an entry or attributes, in seconds: for ever. The kernel
    /// clamps it to the largest time that it can state.
    static let forEver = 1e15

    /// The volume; it is changed only where the gate is closed.
    var volume: Volume
    let gate = RequestGate()
    let options: MountOptions
    let log: Log
    /// What was logged already: a damaged directory that is listed every second fills no disk.
    private let reported = Mutex<Set<Corruption>>([])

    /// The most corruptions that are remembered, and so logged.
    private static let reportLimit = 1000

    init(volume: Volume, options: MountOptions, log: Log) {
        self.volume = volume
        self.options = options
        self.log = log
    }

    // MARK: - Nodes

    /// The inode's number that a node stands for.
    static func inodeNumber(ofNode node: fuse_ino_t) throws(Ext4Error) -> InodeNumber {
        guard node != FUSE_ROOT_ID else { return .root }
        guard let number = UInt32(exactly: node), number != 0 else { throw .notFound }
        return InodeNumber(number)
    }

    /// The node of an inode.
    static func node(of number: InodeNumber) -> fuse_ino_t {
        number == .root ? fuse_ino_t(FUSE_ROOT_ID) : fuse_ino_t(number.rawValue)
    }

    func inode(ofNode node: fuse_ino_t) throws(Ext4Error) -> Inode {
        try volume.inode(try Self.inodeNumber(ofNode: node))
    }

    // MARK: - Requests

    /// The session that a request belongs to.
    static func of(_ request: fuse_req_t?) -> Session? {
        guard let request = unsafe request, let data = unsafe fuse_req_userdata(request) else {
            return nil
        }
        return unsafe Unmanaged<Session>.fromOpaque(data).takeUnretainedValue()
    }

    /// Runs `body` for a request and answers with the error that it throws, if any.
    @inline(__always)
    static func answer(
        _ request: fuse_req_t?,
        _ body: (_ session: Session, _ request: fuse_req_t) throws(Ext4Error) -> Void
    ) {
        guard let session = unsafe of(request), let request = unsafe request else { return }
        do throws(Ext4Error) {
            try unsafe body(session, request)
        } catch {
            session.report(error)
            unsafe fuse_reply_err(request, error.errorNumber)
        }
    }

    /// Logs what is wrong with the volume or its device, each corruption once.
    func report(_ error: Ext4Error) {
        switch error {
        case .corrupt(let corruption):
            volume.report(error)
            let isNew = reported.withLock { reported in
                reported.count < Self.reportLimit && reported.insert(corruption).inserted
            }
            if isNew { log(.error, corruption.description) }
            // As if somebody had asked for the end.
            if options.errors == .panic { kill(getpid(), SIGTERM) }
        case .io(let failure):
            log(.error, failure.description)
        default:
            break
        }
    }

    /// What the kernel is asked for when the session begins.
    fileprivate func negotiate(_ connection: inout fuse_conn_info) {
        var wanted =
            FUSE_CAP_ASYNC_READ | FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_IOCTL_DIR
            | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_NO_OPEN_SUPPORT
            | FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS
            | FUSE_CAP_EXPLICIT_INVAL_DATA
        // With this the kernel asks for the lists and obeys them in its permission checks.
        if options.accessControlLists { wanted |= FUSE_CAP_POSIX_ACL }
        // The umask counts only where there is no default list, which the kernel does not know.
        if volume.isWritable { wanted |= FUSE_CAP_DONT_MASK }
        if options.cachesWrites { wanted |= FUSE_CAP_WRITEBACK_CACHE }
        connection.want = connection.capable & UInt32(bitPattern: Int32(wanted))
        connection.max_background = 64
        connection.congestion_threshold = 48
        connection.time_gran = 1
        connection.max_write = 1 << 20
    }
}

extension Session {
    /// The functions that libfuse calls. None captures anything: the session comes with the
    /// request. What is not here libfuse answers with ENOSYS, and the kernel does not ask again.
    static func operations() -> fuse_lowlevel_ops {
        var operations = fuse_lowlevel_ops()
        unsafe operations.`init` = { data, connection in
            guard let data = unsafe data, let connection = unsafe connection else { return }
            let session = unsafe Unmanaged<Session>.fromOpaque(data).takeUnretainedValue()
            unsafe session.negotiate(&connection.pointee)
        }
        addNames(to: &operations)
        addAttributes(to: &operations)
        addData(to: &operations)
        addChanges(to: &operations)
        addDataChanges(to: &operations)
        return operations
    }

    private static func addNames(to operations: inout fuse_lowlevel_ops) {
        unsafe operations.lookup = { request, parent, name in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.lookup(request, in: parent, name)
            }
        }
        unsafe operations.readlink = { request, node in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.readLink(request, node)
            }
        }
        unsafe operations.readdir = { request, node, size, position, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.readDirectory(request, node, size: size, from: position)
            }
        }
        unsafe operations.readdirplus = { request, node, size, position, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.readDirectoryPlus(request, node, size: size, from: position)
            }
        }
        unsafe operations.opendir = { request, _, _ in
            if let request = unsafe request { unsafe fuse_reply_err(request, ENOSYS) }
        }
        unsafe operations.forget = { request, node, count in
            guard let request = unsafe request else { return }
            unsafe Session.of(request)?.forget(node, count)
            unsafe fuse_reply_none(request)
        }
        unsafe operations.forget_multi = { request, count, forgotten in
            guard let request = unsafe request else { return }
            if let session = unsafe Session.of(request), let forgotten = unsafe forgotten {
                for i in 0..<count {
                    let item = unsafe forgotten[i]
                    session.forget(fuse_ino_t(item.ino), item.nlookup)
                }
            }
            unsafe fuse_reply_none(request)
        }
    }

    private static func addAttributes(to operations: inout fuse_lowlevel_ops) {
        unsafe operations.getattr = { request, node, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.attributes(request, node)
            }
        }
        unsafe operations.getxattr = { request, node, name, size in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.extendedAttribute(request, node, name, size: size)
            }
        }
        unsafe operations.listxattr = { request, node, size in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.extendedAttributeNames(request, node, size: size)
            }
        }
        unsafe operations.statfs = { request, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                unsafe session.statistics(request)
            }
        }
        unsafe operations.ioctl = {
            request, node, command, _, _, _, input, inputSize, outputSize in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                let input = unsafe UnsafeRawBufferPointer(start: input, count: inputSize)
                try unsafe session.control(
                    request, node, command, input: input, outputSize: outputSize)
            }
        }
    }

    private static func addData(to operations: inout fuse_lowlevel_ops) {
        unsafe operations.open = { request, _, _ in
            if let request = unsafe request { unsafe fuse_reply_err(request, ENOSYS) }
        }
        unsafe operations.read = { request, node, size, offset, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.read(request, node, size: size, at: offset)
            }
        }
        unsafe operations.lseek = { request, node, offset, whence, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.seek(request, node, from: offset, whence: whence)
            }
        }
    }
}
