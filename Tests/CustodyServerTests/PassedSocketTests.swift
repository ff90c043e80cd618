import Testing

@testable import CustodyServer

/// Which of the sockets that a service manager passes is the daemon's.
@Suite struct PassedSocketTests {
    @Test func theOneOfItsName() throws {
        #expect(try PassedSocket.choose(names: ["custody"], count: 1) == 3)
        #expect(try PassedSocket.choose(names: ["other", "custody", "third"], count: 3) == 4)
    }

    /// systemd calls a socket by its unit if nobody names it, and other managers may pass no names at all.
    @Test func onlyOneNeedsNoName() throws {
        #expect(try PassedSocket.choose(names: nil, count: 1) == 3)
        let several = #expect(throws: ListenError.self) { try PassedSocket.choose(names: nil, count: 2) }
        #expect(several?.description.contains("FileDescriptorName=custody") == true)
    }

    @Test(arguments: [["custodyd.socket"], ["custody", "custody"], ["", "x"]]) func anythingElseIsRefused(_ names: [String]) {
        let error = #expect(throws: ListenError.self) { try PassedSocket.choose(names: names, count: Int32(names.count)) }
        #expect(error?.description.contains("FileDescriptorName=custody") == true)
    }
}
