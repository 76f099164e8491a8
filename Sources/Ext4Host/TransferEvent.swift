/// What a copy or an export tells while it works.
public enum TransferEvent: Sendable {
    /// A file, or a part of one, is done. The counts are of the whole so far.
    case progress(path: [UInt8], files: UInt64, bytes: UInt64)
    /// Something was left out, wholly or in part. The transfer has failed and goes on.
    case problem(path: [UInt8], String)
    /// Something small that the target, or the user's rights, cannot keep. Each kind is told once.
    case remark(path: [UInt8], String)
}
