import CLinux
import Glibc
import NetworkTypes
import Synchronization
import Testing

@testable import TFTP

/// Which of our ports transfers run from, and that clients who share one do not disturb each other.
@Suite(.timeLimit(.minutes(5)))
struct PortTests {
  /// A client whose transfer is under way, to be kept with others.
  private final class Waiting: Sendable {
    let client = RawClient()
    let port: Int

    /// Asks for a file, and leaves the first answer without an ACK.
    init?(_ options: [(String, String)] = [], from port: Int) async {
      client.send(RawClient.request("file", options: options), to: port)
      guard let answer = await client.receive() else { return nil }
      self.port = answer.port
    }

    /// Acknowledges blocks of 512 bytes up to the last; the first has come.
    func finish(blocks: UInt16) async -> Bool {
      for block in 1...blocks {
        client.send(Packet.acknowledgement(block: block).bytes, to: port)
        guard block < blocks else { return true }
        guard await client.receives(block + 1, from: port) else { return false }
      }
      return false
    }
  }

  private final class End: Sendable {
    let isThere = Atomic(false)
  }

  fileprivate static let bytes = pattern(1300)

  fileprivate static func packet(_ block: UInt16) -> Packet {
    .data(block: block, payload: Array(bytes[(Int(block) - 1) * 512..<min(Int(block) * 512, bytes.count)]))
  }

  private let files = ["file": Content(parts: [.bytes(bytes)])]

  @Test func transfersWithoutWindowsShareAPortAndOneWithAWindowHasItsOwn() async throws {
    try await withServer(files) { port, log in
      let first = try #require(await Waiting(from: port))
      let second = try #require(await Waiting(from: port))
      let windowed = try #require(await Waiting([("windowsize", "4")], from: port))
      #expect(first.port == second.port && first.port != port)
      #expect(windowed.port != first.port && windowed.port != port)
      #expect(await second.finish(blocks: 3))
      #expect(await first.finish(blocks: 3))
    }
  }

  @Test func hundredsOfClientsAtOnceEachGetTheirOwnBlocksAndNoMoreThan64ShareAPort() async throws {
    try await withServer(files) { port, log in
      var clients: [Waiting] = []
      for _ in 0..<200 { clients.append(try #require(await Waiting(from: port))) }
      let sharing = Dictionary(grouping: clients, by: \.port).mapValues(\.count)
      #expect(sharing.count == 4 && sharing.values.allSatisfy { $0 <= 64 })
      let finished = await withTaskGroup(of: Bool.self) { group in
        for client in clients { group.addTask { await client.finish(blocks: 3) } }
        return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
      }
      #expect(finished == 200)
      // The last ACKs are still on their way.
      while log.events.count(where: { $0.kind == .finished }) < 200 {
        let count = log.events.count(where: { $0.kind == .finished })
        _ = await log.first { _ in log.events.count(where: { $0.kind == .finished }) > count }
      }
      #expect(log.events.allSatisfy { $0.kind != .finished || $0.bytes == 1300 })
    }
  }

  @Test func aClientThatComesAgainFromItsPortGetsAnotherOfOurs() async throws {
    try await withServer(files) { port, log in
      // Keeps the first port open.
      let other = try #require(await Waiting(from: port))
      let again = RawClient()
      #expect(await again.read("file", from: port) == PortTests.bytes)
      _ = await log.first { $0.kind == .finished }
      // A longer name for the same: the same request again would be taken for a late copy of the first.
      again.send(RawClient.request("/file"), to: port)
      let answer = await again.receive()
      #expect(answer?.packet == PortTests.packet(1))
      #expect(answer?.port != other.port)
      // What is late from the first transfer goes unheard, and is not answered either.
      again.send(Packet.acknowledgement(block: 3).bytes, to: other.port)
      again.send(Packet.acknowledgement(block: 1).bytes, to: answer?.port ?? 0)
      #expect(await again.receives(2, from: answer?.port ?? 0))
      #expect(await other.finish(blocks: 3))
    }
  }

  @Test func aStrangersPacketAtASharedPortIsERROR5AndDisturbsNobody() async throws {
    try await withServer(files) { port, log in
      var clients: [Waiting] = []
      for _ in 0..<6 { clients.append(try #require(await Waiting(from: port))) }
      let stranger = RawClient()
      stranger.send(Packet.acknowledgement(block: 1).bytes, to: clients[0].port)
      #expect(await stranger.receive()?.packet == .error(.unknownTransfer, text: "this transfer is someone else's"))
      stranger.send(Packet.error(.diskFull, text: "").bytes, to: clients[0].port)
      for client in clients { #expect(await client.finish(blocks: 3)) }
      #expect(await stranger.receive(within: 0) == nil)
    }
  }

  @Test func whileAQuickClientIsServedWithoutSleepOthersAreAnswered() async throws {
    let end = End()
    let large = pattern(900_000)
    let contents = files.merging(["large": Content(parts: [.bytes(large)])]) { $1 }
    try await withServer(contents) { port, _ in
      try await withThrowingTaskGroup(of: Bool.self) { group in
        group.addTask {
          repeat {
            guard await RawClient().read("large", from: port) == large else { return false }
          } while !end.isThere.load(ordering: .relaxed)
          return true
        }
        defer { end.isThere.store(true, ordering: .relaxed) }
        for _ in 0..<20 {
          let client = try #require(await Waiting(from: port))
          #expect(await client.finish(blocks: 3))
        }
        end.isThere.store(true, ordering: .relaxed)
        #expect(try await group.next() == true)
      }
    }
  }

  @Test func aClientThatNeedsLongerIsLookedForSeldomWithoutSleep() {
    var attention = Attention()
    var looked = 0
    for _ in 0..<1000 where attention.isWorthwhile() {
      looked += 1
      attention.missed()
    }
    #expect(looked < 25)
    // Once it is quick it is looked for each time again.
    while !attention.isWorthwhile() {}
    for _ in 0..<100 {
      attention.found()
      let isWorthwhile = attention.isWorthwhile()
      #expect(isWorthwhile)
    }
  }

  @Test func anERROREndsTheTransferOfWhoSentItAndNoOtherAtItsPort() async throws {
    try await withServer(files) { port, log in
      var clients: [Waiting] = []
      for _ in 0..<3 { clients.append(try #require(await Waiting(from: port))) }
      #expect(Set(clients.map(\.port)).count == 1)
      // Another machine that has the same port, and a client that shares ours.
      let stranger = RawClient(address: IPv4Address(127, 0, 0, 2), port: clients[1].client.port)
      stranger.send(Packet.error(.diskFull, text: "").bytes, to: clients[1].port)
      clients[0].client.send(Packet.error(.diskFull, text: "").bytes, to: clients[0].port)
      for client in clients.dropFirst() { #expect(await client.finish(blocks: 3)) }
      while log.events.count(where: { $0.kind != .started }) < 3 {
        let count = log.events.count
        _ = await log.first { _ in log.events.count > count }
      }
      #expect(log.events.count(where: { $0.kind == .finished }) == 2)
    }
  }

  @Test func whileATransferIsAloneNobodyElseCanBindItsPort() async throws {
    try await withServer(files) { port, log in
      let client = try #require(await Waiting(from: port))
      for option in [SO_REUSEADDR, SO_REUSEPORT] {
        let other = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(other) }
        var yes: Int32 = 1
        setsockopt(other, SOL_SOCKET, option, &yes, 4)
        #expect(RawClient.bind(other, to: IPv4Address(127, 0, 0, 1), port: client.port) == EADDRINUSE)
      }
      #expect(await client.finish(blocks: 3))
    }
  }

  /// The kernel reports at the server's socket that the client's port was closed, once for each packet it refused.
  @Test func aClientWhosePortWasClosedForAMomentGoesOn() async throws {
    try await withServer(files) { port, log in
      var source = 0
      var own = 0
      do {
        let client = RawClient()
        own = client.port
        client.send(RawClient.request("file"), to: port)
        source = try #require(await client.receive()).port
        client.send(Packet.acknowledgement(block: 1).bytes, to: source)
      }
      let client = RawClient(port: own)
      for block in 2...3 as ClosedRange<UInt16> {
        #expect(await client.receives(block, from: source))
        client.send(Packet.acknowledgement(block: block).bytes, to: source)
      }
      #expect(await log.first { $0.kind == .finished } != nil)
    }
  }

  @Test func aLineToAClientHasNothingThatStrangersSentWhileItWasMade() async throws {
    let socket = try UDPSocket(address: IPv4Address(127, 0, 0, 1), port: 0, tellsLocalAddress: false)
    let port = Int(clinux_tftp_port(socket.descriptor))
    let client = RawClient()
    let end = End()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        let stranger = RawClient()
        while !end.isThere.load(ordering: .relaxed) { stranger.send(Packet.error(.diskFull, text: "").bytes, to: port) }
      }
      defer { end.isThere.store(true, ordering: .relaxed) }
      for _ in 0..<2000 {
        let line = try UDPSocket(
          adopting: RawClient.onceThePortIsFree {
            clinux_tftp_connected(socket.descriptor, IPv4Address(127, 0, 0, 1).rawValue, UInt16(client.port))
          })
        var byte: UInt8 = 0
        #expect(recv(line.descriptor, &byte, 1, Int32(MSG_DONTWAIT)) == -1)
      }
    }
  }

  @Test func aBlockThatTheKernelDoesNotTakeKeepsNoOtherBack() async throws {
    let content = try ContentOpener().opened([.bytes(Self.bytes)])
    let socket = try UDPSocket(address: IPv4Address(127, 0, 0, 1), port: 0, tellsLocalAddress: false)
    let sender = BlockSender()
    let first = RawClient()
    let second = RawClient()
    for port in [first.port, 0, second.port] {
      // To broadcast is not allowed.
      let address = port == 0 ? IPv4Address.broadcast : IPv4Address(127, 0, 0, 1)
      var route = BlockSender.Route(
        descriptor: socket.descriptor,
        addresses: clinux_tftp_addresses(
          peer_address: address.rawValue, peer_port: UInt16(port == 0 ? 9 : port), local_address: 0))
      try sender.send(2..<3, of: content, blockSize: 512, numbering: .rollsOverToZero, over: &route)
    }
    #expect(await first.receive(within: 0) == nil)
    sender.flush()
    #expect(await first.receive()?.packet == Self.packet(2))
    #expect(await second.receive()?.packet == Self.packet(2))
  }
}

extension RawClient {
  /// Whether this block comes from this port, and before it at most those again that came before it: on a busy machine
  /// an ACK can be late for the server.
  fileprivate func receives(_ block: UInt16, from port: Int) async -> Bool {
    while let (packet, source) = await receive() {
      if source == port, packet == PortTests.packet(block) { return true }
      guard source == port, case .data(let number, _) = packet, number < block else { return false }
    }
    return false
  }
}

extension ContentOpener {
  fileprivate func opened(_ parts: [Content.Part]) throws -> OpenContent {
    var opener = self
    return try opener.open(Content(parts: parts))
  }
}
