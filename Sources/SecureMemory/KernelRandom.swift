import CSystemShim

/// Random bytes from the kernel's generator, drawn at the moment of the call.
///
/// Nothing is drawn ahead and nothing is kept: who reads the memory of the process learns no later value. When a virtual machine
/// is resumed from a snapshot, the kernel reseeds its generator as soon as the hypervisor tells it (VMGENID), so that two machines
/// of one snapshot draw different values; a generator in the process would give both the same.
public enum KernelRandom {
    public static func bytes(count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            fill(UnsafeMutableRawBufferPointer(buffer))
            filled = count
        }
    }

    static func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        let failure = csystem_random(buffer.baseAddress, buffer.count)
        // A sandbox that forbids the call; nothing here may go on with bytes that are not random.
        guard failure == 0 else { fatalError("the kernel gives no random bytes (getrandom failed with errno \(failure))") }
    }
}
