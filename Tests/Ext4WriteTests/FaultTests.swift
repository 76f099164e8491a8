import Ext4Verify
import Testing

@testable import Ext4

/// A device that fails in the middle: nothing traps, nothing that was made durable is lost, what is
/// left can be recovered.
@Suite struct FaultTests {
    static let operations: [IOFailure.Operation] = [.read, .write, .flush]

    @Test(arguments: CrashTests.kinds, operations)
    func anyRequestMayFail(kind: VolumeKind, operation: IOFailure.Operation) throws {
        let base = try TestImage.make(kind.options, megabytes: kind.megabytes)
        var trial = FaultTrial(base: base, check: TestImage.complaints(about:))
        trial.options = { clock in
            var options = Workload.options(
                clock, cacheBytes: operation == .read ? 8 << 10 : 4 << 20)
            options.dataMode = kind.dataMode
            return options
        }
        // Each of the first ones, then some of the others.
        var number = 1
        var step = 1
        while true {
            let fault = FaultyDevice.Fault(
                operation: operation, number: number,
                kind: number % 2 == 0 ? .gone : .once,
                tear: number % 3 == 0 ? UInt64(number) : nil)
            let outcome = try trial.run(fault, seed: 3)
            #expect(outcome.complaint == nil)
            if !outcome.came || outcome.complaint != nil { break }
            number += step
            if number > 8 * WorkloadTests.seeds { step += 1 + step / 3 }
        }
        #expect(number > 3, "the fault came at all")
    }

    /// A device that turns read-only, or is full, in the middle of the work.
    @Test(arguments: [FaultyDevice.Fault.Kind.readOnly, .full])
    func theDeviceMayTakeNoMore(kind: FaultyDevice.Fault.Kind) throws {
        let base = try TestImage.make(CrashTests.kinds[0].options, megabytes: 16)
        let trial = FaultTrial(base: base, check: TestImage.complaints(about:))
        var given = 0
        for number in [1, 2, 3, 5, 9, 17, 33, 65, 129] {
            let outcome = try trial.run(
                FaultyDevice.Fault(operation: .write, number: number, kind: kind, tear: 1),
                seed: 4)
            #expect(outcome.complaint == nil)
            if outcome.wasGivenUp { given += 1 }
        }
        #expect(kind == .full || given > 0)
    }

    /// A device that fails while the volume is being opened is told of, and can be tried again.
    @Test(arguments: operations)
    func openingMayFail(operation: IOFailure.Operation) throws {
        let base = try TestImage.make("-t ext4 -b 1024 -J size=1", megabytes: 16)
        let clock = Workload.Clock()
        let options = Workload.options(clock)
        let trial = try CrashTrial(base, options: options, clock: clock, seed: 5)
        trial.run(60)
        #expect(trial.workload.surprises == [])
        // As a crash leaves it: the log is to be replayed, and there are orphans.
        for number in 1...200 {
            let device = FaultyDevice(copyOf: base)
            device.setFault(
                FaultyDevice.Fault(operation: operation, number: number, kind: .gone))
            var isOpen = false
            do throws(Ext4Error) {
                let volume = try Volume.open(device, options: options)
                isOpen = true
                try volume.close()
            } catch {
                #expect(error.isOfDevice)
            }
            let came = device.hasFailed
            device.setFault(nil)
            #expect(
                try trial.complaint(
                    about: device, options, after: trial.device.eventCount,
                    check: TestImage.complaints(about:)) == nil,
                "\(operation) \(number), opened: \(isOpen)")
            if !came { return }
        }
    }
}
