// Typed access to the fixed fields of an on-disk record.
//
// A record's `Layout` is the only place where an offset stands: parsing, writing, checksums and
// tests all name the field. Callers have checked that the record is whole before they read a
// field; the precondition below guards against our own mistakes, never against the disk's.

/// Where a fixed-width integer stands in a record, and in which byte order.
@usableFromInline
package struct Field<Value: FixedWidthInteger & BitwiseCopyable & Sendable>: Sendable {
    @usableFromInline package let offset: Int
    @usableFromInline package let isBigEndian: Bool

    @inlinable package init(offset: Int, isBigEndian: Bool) {
        self.offset = offset
        self.isBigEndian = isBigEndian
    }

    /// A little-endian field: everything of ext4's own.
    @inlinable package static func le(_ offset: Int) -> Self {
        .init(offset: offset, isBigEndian: false)
    }

    /// A big-endian field: everything of the journal's (jbd2).
    @inlinable package static func be(_ offset: Int) -> Self {
        .init(offset: offset, isBigEndian: true)
    }

    /// The offset of the first byte behind the field.
    @inlinable package var end: Int { offset &+ MemoryLayout<Value>.size }

    /// The same field of a record that starts `base` bytes further on.
    @inlinable package func at(_ base: Int) -> Self {
        .init(offset: offset &+ base, isBigEndian: isBigEndian)
    }
}

extension RawSpan {
    @inlinable @inline(__always)
    package subscript<Value>(_ field: Field<Value>) -> Value {
        precondition(
            field.offset >= 0
                && MemoryLayout<Value>.size <= byteCount &- field.offset,
            "a record was read before its length was checked")
        let value = unsafe unsafeLoadUnaligned(
            fromUncheckedByteOffset: field.offset, as: Value.self)
        return field.isBigEndian ? Value(bigEndian: value) : Value(littleEndian: value)
    }

    /// The byte at `offset`.
    @inlinable @inline(__always)
    package func byte(at offset: Int) -> UInt8 { self[Field<UInt8>.le(offset)] }

    /// A copy of the bytes in `range`, which the caller has checked.
    package func copy(_ range: Range<Int>) -> [UInt8] {
        let part = extracting(range)
        return unsafe [UInt8](unsafeUninitializedCapacity: part.byteCount) { buffer, count in
            unsafe part.withUnsafeBytes { source in
                unsafe UnsafeMutableRawBufferPointer(buffer).copyMemory(from: source)
            }
            count = part.byteCount
        }
    }

    /// A copy of all bytes.
    package func copy() -> [UInt8] { copy(0..<byteCount) }

    /// Whether every byte is zero.
    package var isAllZero: Bool {
        for i in 0..<byteCount where byte(at: i) != 0 { return false }
        return true
    }
}

extension MutableRawSpan {
    @inlinable @inline(__always)
    package subscript<Value>(_ field: Field<Value>) -> Value {
        get { bytes[field] }
        set {
            storeBytes(
                of: field.isBigEndian ? newValue.bigEndian : newValue.littleEndian,
                toByteOffset: field.offset, as: Value.self)
        }
    }
}

extension MutableRawSpan {
    /// Copies `source`, which is not longer, to the start.
    package mutating func copy(from source: RawSpan) {
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
        }
    }

    /// Makes every byte zero.
    package mutating func clear() {
        unsafe withUnsafeMutableBytes {
            _ = unsafe $0.initializeMemory(as: UInt8.self, repeating: 0)
        }
    }
}
