package import Ext4
internal import Glibc

/// The bytes of a whole device, which several devices have in common.
///
/// Whoever makes one may change it as long as no other thread looks at a device over it.
@safe
package final class DeviceImage: @unchecked Sendable {
    /// The size in bytes, a multiple of a sector.
    package let byteCount: Int
    private let storage: UnsafeMutableRawPointer

    /// Bytes of a sector: what a device writes as a whole or not at all.
    package static let sectorSize = 512

    /// An image of zeros.
    package init(byteCount: Int) {
        precondition(byteCount >= 0 && byteCount % Self.sectorSize == 0)
        self.byteCount = byteCount
        unsafe storage = .allocate(byteCount: max(byteCount, 1), alignment: 4096)
        unsafe storage.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    }

    /// A copy.
    package convenience init(copyOf other: DeviceImage) {
        self.init(byteCount: other.byteCount)
        unsafe storage.copyMemory(from: other.storage, byteCount: byteCount)
    }

    deinit { unsafe storage.deallocate() }

    /// The bytes of a part.
    package func bytes(_ range: Range<Int>) -> [UInt8] {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        return unsafe [UInt8](UnsafeRawBufferPointer(rebasing: whole[range]))
    }

    /// Overwrites a part.
    package func put(_ bytes: some Collection<UInt8>, at offset: Int) {
        precondition(offset >= 0 && offset + bytes.count <= byteCount)
        let target = unsafe UnsafeMutableRawBufferPointer(
            start: storage + offset, count: bytes.count)
        unsafe target.copyBytes(from: bytes)
    }

    /// The bytes, for as long as the image is there.
    var whole: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: storage, count: byteCount)
    }
}

/// A device in memory that shows an image until it is written: what is written stays with the
/// device, and to make another one costs next to nothing.
///
/// One thread at a time may use it.
@safe
package final class LayeredDevice: BlockDevice, @unchecked Sendable {
    private static let pageSize = 1024

    /// What shows where nothing was written.
    package let base: DeviceImage
    private let pages: UnsafeMutablePointer<UnsafeMutableRawPointer?>
    private let pageCount: Int
    private var written: [Int] = []

    /// The size of the image.
    package var byteCount: UInt64 { UInt64(base.byteCount) }
    /// It can always be written.
    package var isReadOnly: Bool { false }

    /// A device that shows `base`.
    package init(_ base: DeviceImage) {
        self.base = base
        pageCount = (base.byteCount + Self.pageSize - 1) / Self.pageSize
        unsafe pages = .allocate(capacity: max(pageCount, 1))
        unsafe pages.initialize(repeating: nil, count: pageCount)
    }

    deinit {
        for page in written { unsafe pages[page]?.deallocate() }
        unsafe pages.deallocate()
    }

    /// Fills `bytes` from `byteOffset` on.
    package func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try checkBounds(.read, at: byteOffset, count: bytes.byteCount)
        let start = Int(byteOffset)
        unsafe bytes.withUnsafeMutableBytes { target in
            var done = 0
            while done < target.count {
                let offset = start + done
                let within = offset % Self.pageSize
                let count = min(Self.pageSize - within, target.count - done)
                let part = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: target[done..<done + count])
                if let page = unsafe pages[offset / Self.pageSize] {
                    unsafe part.copyMemory(
                        from: UnsafeRawBufferPointer(start: page + within, count: count))
                } else {
                    unsafe part.copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: base.whole[offset..<offset + count]))
                }
                done += count
            }
        }
    }

    /// Writes `bytes` from `byteOffset` on.
    package func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        try checkBounds(.write, at: byteOffset, count: bytes.byteCount)
        unsafe bytes.withUnsafeBytes { unsafe put($0, at: Int(byteOffset)) }
    }

    /// Does nothing.
    package func flush() throws(Ext4Error) {}

    /// Overwrites a part that lies on the device.
    package func put(_ bytes: ArraySlice<UInt8>, at offset: Int) {
        precondition(offset >= 0 && offset + bytes.count <= base.byteCount)
        unsafe bytes.withUnsafeBytes { unsafe put($0, at: offset) }
    }

    private func put(_ source: UnsafeRawBufferPointer, at start: Int) {
        var done = 0
        while done < source.count {
            let offset = start + done
            let within = offset % Self.pageSize
            let count = min(Self.pageSize - within, source.count - done)
            let page = unsafe page(offset / Self.pageSize)
            unsafe (page + within).copyMemory(
                from: source.baseAddress.unsafelyUnwrapped + done, byteCount: count)
            done += count
        }
    }

    private func page(_ index: Int) -> UnsafeMutableRawPointer {
        if let page = unsafe pages[index] { return unsafe page }
        let page = UnsafeMutableRawPointer.allocate(byteCount: Self.pageSize, alignment: 16)
        let start = index * Self.pageSize
        let count = min(Self.pageSize, base.byteCount - start)
        unsafe page.copyMemory(
            from: base.whole.baseAddress.unsafelyUnwrapped + start, byteCount: count)
        unsafe pages[index] = unsafe page
        written.append(index)
        return unsafe page
    }

    /// The bytes of a part.
    package func bytes(_ range: Range<Int>) -> [UInt8] {
        // The caller's range lies on the device: it cannot fail.
        (try? read(at: UInt64(range.lowerBound), count: range.count)) ?? []
    }

    /// Calls `body` for each page that is not as in `other`, an image of the same size.
    func forEachPage<Failure: Error>(
        differingFrom other: DeviceImage,
        _ body: (Int, UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        precondition(other.byteCount == base.byteCount)
        for index in 0..<pageCount {
            let start = index * Self.pageSize
            let end = min(start + Self.pageSize, base.byteCount)
            var mine = unsafe UnsafeRawBufferPointer(rebasing: base.whole[start..<end])
            if let page = unsafe pages[index] {
                unsafe mine = UnsafeRawBufferPointer(start: page, count: end - start)
            }
            let its = unsafe UnsafeRawBufferPointer(rebasing: other.whole[start..<end])
            let isSame = unsafe memcmp(
                mine.baseAddress.unsafelyUnwrapped, its.baseAddress.unsafelyUnwrapped, end - start)
            if isSame != 0 { try unsafe body(start, mine) }
        }
    }

    /// The whole as an image of its own.
    package func flattened() -> DeviceImage {
        let image = DeviceImage(copyOf: base)
        for page in written {
            let start = page * Self.pageSize
            image.put(bytes(start..<min(start + Self.pageSize, base.byteCount)), at: start)
        }
        return image
    }
}
