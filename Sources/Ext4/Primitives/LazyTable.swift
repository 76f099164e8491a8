internal import Synchronization

/// Objects by number, each made when it is first wanted, and found without a lock.
///
/// A volume may have a million groups of which a mount touches ten, so the slots come in leaves
/// that are made on demand too.
final class LazyTable<Element: AnyObject & Sendable>: Sendable {
    private static var leafSize: Int { 256 }

    private let count: Int
    private let leaves: LazySlots<LazySlots<Element>>

    init(count: Int) {
        self.count = max(count, 0)
        leaves = LazySlots(count: self.count / Self.leafSize + 1)
    }

    /// The element at `index`, which is less than the count, if it was made.
    func find(_ index: Int) -> Element? {
        precondition(index >= 0 && index < count)
        return leaves.load(index / Self.leafSize)?.load(index % Self.leafSize)
    }

    /// Puts `element` at `index`, unless there is one: the one that is there is returned.
    func insert(_ element: Element, at index: Int) -> Element {
        precondition(index >= 0 && index < count)
        let leaf =
            leaves.load(index / Self.leafSize)
            ?? leaves.store(LazySlots(count: Self.leafSize), at: index / Self.leafSize)
        return leaf.store(element, at: index % Self.leafSize)
    }
}

/// A fixed number of places that are filled once.
@safe
final class LazySlots<Element: AnyObject & Sendable>: @unchecked Sendable {
    // The address of each element, which its place owns a reference to; 0 for none. An
    // `AtomicLazyReference` would do, but is not specialised across its module's border: a look
    // costs a hundred nanoseconds.
    private let slots: UnsafeMutablePointer<Atomic<UInt>>
    private let count: Int

    init(count: Int) {
        self.count = count
        unsafe slots = .allocate(capacity: count)
        for i in 0..<count { unsafe (slots + i).initialize(to: Atomic(0)) }
    }

    deinit {
        for i in 0..<count {
            let address = unsafe slots[i].load(ordering: .acquiring)
            if let element = unsafe Self.reference(address) { unsafe element.release() }
        }
        unsafe slots.deinitialize(count: count)
        unsafe slots.deallocate()
    }

    private static func reference(_ address: UInt) -> Unmanaged<Element>? {
        guard let pointer = unsafe UnsafeRawPointer(bitPattern: address) else { return nil }
        return unsafe Unmanaged.fromOpaque(pointer)
    }

    func load(_ index: Int) -> Element? {
        precondition(index >= 0 && index < count)
        let address = unsafe slots[index].load(ordering: .acquiring)
        return unsafe Self.reference(address)?.takeUnretainedValue()
    }

    func store(_ element: Element, at index: Int) -> Element {
        precondition(index >= 0 && index < count)
        let new = unsafe Unmanaged.passRetained(element)
        let (exchanged, present) = unsafe slots[index].compareExchange(
            expected: 0, desired: UInt(bitPattern: new.toOpaque()),
            ordering: .acquiringAndReleasing)
        if exchanged { return element }
        unsafe new.release()
        return unsafe Self.reference(present)?.takeUnretainedValue() ?? element
    }
}
