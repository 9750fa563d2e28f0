import Foundation
import Logging
import NetworkTypes
import Testing

@testable import TFTP

/// The real server on loopback, and packets as real clients, broken clients and strangers send them.
@Suite(.timeLimit(.minutes(5)))
struct ServerTests {
  private let small = pattern(1300)

  @Test(arguments: [0, 1, 511, 512, 513, 100_000], [1, 16])
  func aFileArrivesWithAllItsBytes(size: Int, window: Int) async throws {
    let bytes = pattern(size)
    try await withServer(["file": Content(parts: [.bytes(bytes)])]) { port, log in
      let client = RawClient()
      #expect(await client.read("file", options: window > 1 ? [("windowsize", "\(window)")] : [], from: port) == bytes)
      let event = await log.first { $0.kind == .finished }
      #expect(event?.bytes == size && event?.windowSize == window)
      #expect(log.events.map(\.kind).filter { $0 != .progress } == [.started, .finished])
    }
  }

  @Test func partsFollowOneAnotherWithoutASeam() async throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "tftp-part-\(UUID().uuidString)").path
    let (first, second, third) = (pattern(700), pattern(5001), pattern(3))
    try Data(second).write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let content = Content(parts: [.bytes(first), .file(path: path, size: 5001), .bytes([]), .bytes(third)])
    try await withServer(["file": content]) { port, _ in
      for options in [[], [("windowsize", "8"), ("blksize", "100")], [("blksize", "1468")]] {
        let client = RawClient()
        #expect(await client.read("file", options: options, from: port) == first + second + third)
      }
    }
  }

  @Test func aFileThatIsGoneOrOfAnotherSizeIsAnErrorThatSaysSo() async throws {
    let content = Content(parts: [.file(path: "/nonexistent/kernel", size: 10)])
    let other = Content(parts: [.file(path: "/proc/self/exe", size: 10)])
    try await withServer(["gone": content, "other": other]) { port, log in
      let client = RawClient()
      client.send(RawClient.request("gone"), to: port)
      #expect(
        await client.receive()?.packet
          == .error(.undefined, text: "the server cannot read /nonexistent/kernel: No such file or directory"))
      client.send(RawClient.request("other"), to: port)
      #expect(
        await client.receive()?.packet
          == .error(.undefined, text: "the server cannot read /proc/self/exe: it is not a file of 10 bytes any more"))
    }
  }

  @Test func anUnknownNameIsERROR1AndAnEvent() async throws {
    try await withServer(refused: ["secret"]) { port, log in
      let client = RawClient()
      client.send(RawClient.request("nothing"), to: port)
      #expect(await client.receive()?.packet == .error(.fileNotFound, text: "nothing is not here"))
      client.send(RawClient.request("secret"), to: port)
      #expect(await client.receive()?.packet == .error(.undefined, text: "127.0.0.1 may not have secret"))
      client.send(RawClient.request("../../etc/passwd"), to: port)
      #expect(await client.receive()?.packet == .error(.fileNotFound, text: "no such file"))
      let event = await log.first { $0.name == "../../etc/passwd" }
      #expect(event?.kind == .refused("no such file"))
    }
  }

  @Test func aMangledNameFindsItsFileAndTheEventShowsWhatWasAsked() async throws {
    try await withServer(["b/x/kernel": Content(parts: [.bytes(small)])]) { [small] port, log in
      let client = RawClient()
      #expect(await client.read("\\B\\X//Kernel", from: port) == small)
      #expect(await log.first { $0.kind == .finished }?.name == "\\B\\X//Kernel")
    }
  }

  @Test func anUploadIsERROR2AndSaysWhy() async throws {
    try await withServer { port, log in
      let client = RawClient()
      client.send(Request(operation: .write, name: Array("core".utf8), mode: .octet).bytes, to: port)
      #expect(
        await client.receive()?.packet
          == .error(.accessViolation, text: "this server takes no files: it only hands out what machines boot from"))
      #expect(await log.first { $0.name == "core" } != nil)
    }
  }

  @Test func aMalformedRequestIsERROR4() async throws {
    try await withServer(["a": Content(parts: [.bytes(small)])]) { port, _ in
      let client = RawClient()
      client.send([0, 1] + Array("a\0octet".utf8), to: port)
      #expect(await client.receive()?.packet == .error(.illegalOperation, text: "request ends without its NUL"))
      client.send([0, 9, 1, 1], to: port)
      #expect(await client.receive()?.packet == .error(.illegalOperation, text: "not a TFTP packet"))
      client.send([0, 4, 0, 1], to: port)
      #expect(await client.receive()?.packet == .error(.unknownTransfer, text: "this port takes requests only"))
    }
  }

  @Test func anERRORIsNeverAnsweredSoThatNoTwoServersTalkForever() async throws {
    try await withServer(["a": Content(parts: [.bytes(small)])]) { [small] port, _ in
      let client = RawClient()
      client.send(Packet.error(.unknownTransfer, text: "").bytes, to: port)
      // The next answer is the one to the next packet.
      #expect(await client.read("a", from: port) == small)
    }
  }

  @Test func aStrangersPacketIsERROR5AndDoesNotDisturbTheTransfer() async throws {
    try await withServer(["a": Content(parts: [.bytes(small)])]) { port, log in
      let client = RawClient()
      let stranger = RawClient()
      client.send(RawClient.request("a"), to: port)
      let first = await client.receive()
      let transferPort = first?.port ?? 0
      #expect(transferPort != port && transferPort != 0)
      stranger.send(Packet.acknowledgement(block: 1).bytes, to: transferPort)
      #expect(await stranger.receive()?.packet == .error(.unknownTransfer, text: "this transfer is someone else's"))
      for block in 1...3 as ClosedRange<UInt16> {
        client.send(Packet.acknowledgement(block: block).bytes, to: transferPort)
      }
      #expect(await log.first { $0.kind == .finished } != nil)
    }
  }

  @Test func tenCopiesOfARequestAreOneTransfer() async throws {
    try await withServer(["a": Content(parts: [.bytes(small)])]) { port, log in
      let client = RawClient()
      for _ in 0..<10 { client.send(RawClient.request("a"), to: port) }
      let transferPort = await client.receive()?.port ?? 0
      for block in 1...3 as ClosedRange<UInt16> {
        client.send(Packet.acknowledgement(block: block).bytes, to: transferPort)
      }
      _ = await log.first { $0.kind == .finished }
      client.send(RawClient.request("a"), to: port)
      client.send(RawClient.request("b"), to: port)
      _ = await log.first { $0.name == "b" }
      #expect(log.events.filter { $0.kind == .started }.count == 1)
    }
  }

  @Test func onlyClientsOfTheConfiguredNetworksHearAnything() async throws {
    try await withServer(
      ["a": Content(parts: [.bytes(small)])],
      configuration: .loopback(subnet: "127.0.0.1/32")
    ) { [small] port, log in
      let outsider = RawClient(address: IPv4Address(127, 0, 0, 2))
      for packet in [RawClient.request("a"), [0, 1, 0], [0, 9], Packet.acknowledgement(block: 1).bytes] {
        outsider.send(packet, to: port)
      }
      // Packets to one port are read in their order: once this is answered, the others were too, if ever.
      let client = RawClient()
      #expect(await client.read("a", from: port) == small)
      #expect(await outsider.receive(within: 0) == nil)
      #expect(log.events.allSatisfy { $0.client == IPv4Address(127, 0, 0, 1) })
    }
  }

  @Test func aProbeForTheSizeIsToldAsOne() async throws {
    try await withServer(["a": Content(parts: [.bytes(small)])]) { [small] port, log in
      let client = RawClient()
      client.send(RawClient.request("a", options: [("tsize", "0"), ("blksize", "1468")]), to: port)
      guard case (.optionAcknowledgement(let options)?, let transferPort)? = await client.receive() else {
        Issue.record("an OACK was to come")
        return
      }
      #expect(options.map { String(decoding: $0.value, as: UTF8.self) } == ["1300", "1468"])
      client.send(Packet.error(.optionsRefused, text: "User aborted the transfer").bytes, to: transferPort)
      #expect(await log.first { $0.kind == .probed } != nil)
      #expect(await client.read("a", options: [("blksize", "1468")], from: port) == small)
    }
  }

  @Test func netasciiTurnsEndsOfLines() async throws {
    try await withServer(["a": Content(parts: [.bytes(Array("a\nb\n".utf8))])]) { port, _ in
      let client = RawClient()
      client.send(Request(operation: .read, name: [0x61], mode: .netascii).bytes, to: port)
      #expect(await client.receive()?.packet == .data(block: 1, payload: Array("a\r\nb\r\n".utf8)))
    }
  }

  @Test func allTransfersCanRunFromThePortOfRequests() async throws {
    let bytes = pattern(50_000)
    try await withServer(["a": Content(parts: [.bytes(bytes)])], configuration: .loopback(singlePort: true)) {
      port, _ in
      let client = RawClient()
      client.send(RawClient.request("a"), to: port)
      #expect(await client.receive()?.port == port)
      let other = RawClient()
      #expect(await other.read("a", options: [("windowsize", "8")], from: port) == bytes)
    }
  }

  @Test func withOnePortForAllAForgedACKDrawsOneBlockAtMost() async throws {
    try await withServer(["a": Content(parts: [.bytes(pattern(50_000))])], configuration: .loopback(singlePort: true)) {
      port, _ in
      // Whoever forges an address sees no answer, but needs none: the port is known, and the numbers are.
      let forged = RawClient()
      forged.send(RawClient.request("a", options: [("windowsize", "64"), ("blksize", "1468")]), to: port)
      guard case .optionAcknowledgement(let options)? = await forged.receive()?.packet else {
        Issue.record("an OACK was to come")
        return
      }
      #expect(options.map { String(decoding: $0.value, as: UTF8.self) } == ["1", "1468"])
      for number in 0..<5 as Range<UInt16> {
        forged.send(Packet.acknowledgement(block: number).bytes, to: port)
        guard await forged.receive(block: number + 1) else {
          Issue.record("block \(number + 1) was to come")
          return
        }
      }
      // Packets are read in their order: whatever the ACKs drew came before the answer to this.
      forged.send([0, 9, 0, 0], to: port)
      var last = await forged.receive()?.packet
      while case .data(5, _)? = last { last = await forged.receive()?.packet }
      #expect(last == .error(.illegalOperation, text: "not a TFTP packet"))
    }
  }

  @Test func halfOpenTransfersDoNotTakeAClientsPlace() async throws {
    try await withServer(
      ["a": Content(parts: [.bytes(small)])], configuration: .loopback(maximumTransfers: 200)
    ) { [small] port, log in
      for index in 0..<600 {
        // Not the address of other tests' clients: what is sent to this port later may meet whoever has it next.
        let silent = RawClient(address: IPv4Address(127, 2, 0, 1))
        // A number of its own, should the system give a port out again.
        silent.send(RawClient.request("a", options: [("tsize", "\(index)")]), to: port)
        #expect(await silent.receive() != nil)
      }
      let client = RawClient()
      #expect(await client.read("a", from: port) == small)
    }
  }

  @Test func oneClientCannotTakeEveryPlace() async throws {
    var configuration = ServerConfiguration.loopback()
    configuration.maximumTransfersPerClient = 3
    try await withServer(["a": Content(parts: [.bytes(small)])], configuration: configuration) { [small] port, log in
      // Until they have ended, these ports stay taken: what is sent to them meets nobody else.
      let greedy = (0..<3).map { _ in HeldClient(address: IPv4Address(127, 3, 0, 1)) }
      for client in greedy {
        client.socket.send(RawClient.request("a"), to: port)
        #expect(await client.socket.receive() != nil)
      }
      let fourth = RawClient(address: IPv4Address(127, 3, 0, 1))
      fourth.send(RawClient.request("a"), to: port)
      let other = RawClient()
      #expect(await other.read("a", from: port) == small)
      #expect(await fourth.receive(within: 0) == nil)
      #expect(log.events.count { $0.kind == .started } == 4)
    }
  }

  @Test func afterAFloodOf5000RequestsAClientIsServedNext() async throws {
    try await withServer(["a": Content(parts: [.bytes(small)])]) { [small] port, log in
      // From as many addresses, each of which will never say more.
      for index in 0..<5000 {
        let silent = RawClient(address: IPv4Address(127, 1, UInt8(index / 250), UInt8(index % 250 + 1)))
        silent.send(RawClient.request("a", options: [("tsize", "0")]), to: port)
      }
      let client = RawClient()
      // Packets to one port are read in their order: after this answer, the flood was read.
      client.send([0, 9, 0, 0], to: port)
      #expect(await client.receive() != nil)
      // How soon is measured where nothing else runs: `make bench`.
      #expect(await client.read("a", options: [("windowsize", "4")], from: port) == small)
      let started = log.events.count { $0.kind == .started }
      #expect(started >= 4000, "\(started) of the flood's transfers had begun")
    }
  }

  /// Whoever sends with a forged address has packets sent to its owner. Without options the first block is owed to every
  /// request, and with a name this short it alone is more than 20 times the request.
  @Test(arguments: [
    ("a", []), ("b/abcdefghijkl/initramfs", []), ("pxelinux.cfg/01-52-54-00-00-00-01", []),
    ("a", [("tsize", "0")]), ("snponly.efi", [("tsize", "0"), ("blksize", "1468"), ("windowsize", "64")]),
    ("a", [("blksize", "65464"), ("windowsize", "65535"), ("timeout", "1")]),
  ])
  func aClientThatNeverAnswersIsSentAtMost20TimesItsBytesUntilItIsGivenUp(
    name: String, options: [(String, String)]
  ) async throws {
    try await withServer([name: Content(parts: [.bytes(pattern(200_000))])]) { port, log in
      let silent = RawClient()
      let request = RawClient.request(name, options: options)
      silent.send(request, to: port)
      let ending = await log.first(within: 100) { $0.kind != .started && $0.kind != .progress }
      #expect(ending?.kind == .failed("the client did not answer within 15 seconds"))
      let answers = silent.receiveAll()
      #expect(!answers.isEmpty)
      let total = answers.reduce(0, +)
      #expect(total <= max(20 * request.count, options.isEmpty ? 516 : 0), "\(answers) for \(request.count)")
    }
  }

  @Test func aTransferThatTakesLongTellsItsProgress() async throws {
    try await withServer(["a": Content(parts: [.bytes(small)])]) { port, log in
      let start = ContinuousClock.now
      let client = RawClient()
      client.send(RawClient.request("a", options: [("blksize", "512")]), to: port)
      let transferPort = await client.receive()?.port ?? 0
      client.send(Packet.acknowledgement(block: 0).bytes, to: transferPort)
      // Sent after 50 ms, 100, 200 ...: the sixth copy comes when the transfer is more than a second old.
      for _ in 0..<6 { _ = await client.receive() }
      for block in 1...3 as ClosedRange<UInt16> {
        client.send(Packet.acknowledgement(block: block).bytes, to: transferPort)
      }
      #expect(await log.first { $0.kind == .finished } != nil)
      #expect(log.events.first?.kind == .started && log.events.last?.kind == .finished)
      let progress = log.events.dropFirst().dropLast()
      #expect(!progress.isEmpty && progress.allSatisfy { $0.kind == .progress && $0.bytes >= 512 })
      #expect(progress.count <= start.duration(to: .now).components.seconds, "once a second at most")
      #expect(log.events.last?.bytes == 1300 && log.events.allSatisfy { $0.size == 1300 })
    }
  }

  @Test func aServerThatStopsTellsItsClients() async throws {
    let log = try await withServer(["a": Content(parts: [.bytes(small)])]) { port, log in
      let other = RawClient()
      other.send(RawClient.request("a"), to: port)
      _ = await other.receive()
      return log
    }
    #expect(log.events.last?.kind == .failed("the server is stopping"))
  }

  @Test func aPortInUseIsNamedWithTheRemedy() async throws {
    try await withServer { port, _ in
      let error = #expect(throws: TFTPStartError.self) {
        _ = try TFTPServer(
          ServerConfiguration(port: port, subnets: []), source: MapSource(files: [:]), observer: EventLog(),
          logger: Logger(label: "tftp.test"))
      }
      #expect(error?.description.contains("UDP port \(port)") == true)
      #expect(error?.description.contains("another TFTP server has it") == true)
    }
  }

  @Test func anAddressThatNobodyHasIsNamedWithTheRemedy() throws {
    let error = #expect(throws: TFTPStartError.self) {
      _ = try TFTPServer(
        ServerConfiguration(address: IPv4Address(192, 0, 2, 1), port: 0, subnets: []), source: MapSource(files: [:]),
        observer: EventLog(), logger: Logger(label: "tftp.test"))
    }
    #expect(error?.description.contains("of 192.0.2.1: no interface has this address") == true)
  }
}

/// Many at once.
private final class HeldClient: Sendable {
  let socket: RawClient

  init(address: IPv4Address) {
    socket = RawClient(address: address)
  }
}
