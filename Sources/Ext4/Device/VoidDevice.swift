/// A device that keeps nothing, for trials: it reads as zeros.
package final class VoidDevice: BlockDevice {
    /// The size that it says it has.
    package let byteCount: UInt64
    /// Never.
    package let isReadOnly = false

    /// Makes a device of that size.
    package init(byteCount: UInt64) { self.byteCount = byteCount }

    /// Gives zeros.
    package func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try checkBounds(.read, at: byteOffset, count: bytes.byteCount)
        bytes.clear()
    }

    /// Forgets them.
    package func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
    }

    /// Does nothing.
    package func flush() throws(Ext4Error) {}
}
