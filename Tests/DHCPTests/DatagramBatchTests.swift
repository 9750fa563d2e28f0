import DHCPWire
import Glibc
import NetworkTypes
import Testing

@testable import DHCP

/// Datagrams over the loopback interface.
@Suite struct DatagramBatchTests {
  private static let own = IPv4Address(127, 0, 0, 1)

  /// A socket of ours on a free port of the loopback interface.
  private static func open() throws -> (socket: CInt, port: UInt16) {
    for _ in 0..<100 {
      let port = UInt16.random(in: 20_000..<60_000)
      do {
        return (try ServerSocket.open(interface: "lo", port: port), port)
      } catch DHCPServerError.portInUse {
        continue
      }
    }
    throw DHCPServerError.portInUse(port: 0, interface: "lo")
  }

  /// Waits until `count` datagrams have come.
  private static func receive(_ count: Int, from socket: CInt) throws -> [(bytes: [UInt8], sentTo: IPv4Address)] {
    let batch = try DatagramBatch(bytes: 100, interface: "lo")
    var received: [(bytes: [UInt8], sentTo: IPv4Address)] = []
    for _ in 0..<100 where received.count < count {
      var waited = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
      poll(&waited, 1, 1000)
      _ = batch.receive(from: socket) { bytes, destination in
        received.append((bytes.indices.map { bytes[$0] }, destination))
      }
    }
    return received
  }

  @Test("a batch of datagrams arrives whole and in order, each with the address it was sent to")
  func everythingArrives() throws {
    let (socket, port) = try Self.open()
    defer { close(socket) }
    let batch = try DatagramBatch(bytes: 100, interface: "lo")
    let messages: [[UInt8]] = (1...DatagramBatch.capacity).map { number in
      [UInt8](repeating: UInt8(number), count: number)
    }
    for message in messages {
      let isAdded = batch.add(message.span, from: Self.own, to: Self.own, port: port)
      #expect(isAdded)
    }
    let more: [UInt8] = [0]
    let hasRoom = batch.add(more.span, from: Self.own, to: Self.own, port: port)
    #expect(!hasRoom)
    batch.send(to: socket, count: messages.count) { Issue.record("number \($0) was refused") }
    let received = try Self.receive(messages.count, from: socket)
    #expect(received.map(\.bytes) == messages)
    #expect(received.allSatisfy { $0.sentTo == Self.own })
  }

  @Test("equally long datagrams to one relay agent arrive each by itself, between those to others")
  func runsArrive() throws {
    let (socket, port) = try Self.open()
    let (other, otherPort) = try Self.open()
    defer {
      close(socket)
      close(other)
    }
    let batch = try DatagramBatch(bytes: 100, interface: "lo")
    for number in 0..<UInt8(DatagramBatch.capacity) {
      let bytes = [UInt8](repeating: number, count: number < 40 ? 90 : 80)
      let isAdded = batch.add(
        bytes.span, from: Self.own, to: Self.own, port: (20..<23).contains(number) ? otherPort : port)
      #expect(isAdded)
    }
    batch.send(to: socket, count: DatagramBatch.capacity) { Issue.record("number \($0) was refused") }
    let received = try Self.receive(DatagramBatch.capacity - 3, from: socket).map(\.bytes)
    let expected = (0..<UInt8(DatagramBatch.capacity)).filter { !(20..<23).contains($0) }
    #expect(received.map(\.first) == expected.map { $0 })
    #expect(received.map(\.count) == expected.map { $0 < 40 ? 90 : 80 })
    #expect(received.allSatisfy { Set($0).count == 1 })
    let others = try Self.receive(3, from: other).map(\.bytes)
    #expect(others == (20..<23).map { [UInt8](repeating: $0, count: 90) })
  }

  @Test("what the capture takes does not come to the socket, and all else does")
  func leftToCapture() throws {
    let (socket, port) = try Self.open()
    defer { close(socket) }
    let everyone = IPv4Address(127, 255, 255, 255)
    ServerSocket.leaveToCapture(socket, segmentBroadcast: everyone)
    let batch = try DatagramBatch(bytes: 300, interface: "lo")
    let unrelayed = [UInt8](repeating: 0, count: 300)
    // giaddr is behind 24 bytes.
    var relayed = unrelayed
    relayed[27] = 2
    let sent: [(bytes: [UInt8], to: IPv4Address)] = [
      (unrelayed, .broadcast), (unrelayed, everyone), (Array(unrelayed[..<28]), everyone), (relayed, everyone),
      (relayed, Self.own), (unrelayed, Self.own), (Array(unrelayed[..<27]), everyone), ([], everyone),
    ]
    for (bytes, address) in sent {
      let isAdded = batch.add(bytes.span, from: Self.own, to: address, port: port)
      #expect(isAdded)
    }
    batch.send(to: socket, count: sent.count) { Issue.record("number \($0) was refused") }
    let received = try Self.receive(5, from: socket)
    #expect(received.map(\.sentTo) == sent[3...].map(\.to))
    #expect(received.map(\.bytes.count) == sent[3...].map { min(100, $0.bytes.count) })
  }

  @Test("where the kernel refuses the first of many, only that one is lost")
  func aRunIsRefused() throws {
    let (socket, port) = try Self.open()
    defer { close(socket) }
    let batch = try DatagramBatch(bytes: 100, interface: "lo")
    for number in UInt8(0)..<6 {
      let bytes = [UInt8](repeating: number, count: 50)
      // Port 0 is nobody's: EINVAL, which a message that cannot be cut gives too.
      let isAdded = batch.add(bytes.span, from: Self.own, to: Self.own, port: number < 2 ? 0 : port)
      #expect(isAdded)
    }
    var refused: [Int] = []
    batch.send(to: socket, count: 6) { refused.append($0) }
    #expect(refused == [0, 1])
    let received = try Self.receive(4, from: socket).map(\.bytes)
    #expect(received == (2..<6).map { [UInt8](repeating: $0, count: 50) })
  }

  @Test("a datagram that the kernel refuses does not keep back those behind it")
  func oneIsRefused() throws {
    let (socket, port) = try Self.open()
    defer { close(socket) }
    let batch = try DatagramBatch(bytes: 100, interface: "lo")
    let stranger = IPv4Address(192, 0, 2, 1)
    for (number, source) in [Self.own, stranger, Self.own, stranger].enumerated() {
      let bytes = [UInt8(number)]
      let isAdded = batch.add(bytes.span, from: source, to: Self.own, port: port)
      #expect(isAdded)
    }
    var refused: [Int] = []
    batch.send(to: socket, count: 4) { refused.append($0) }
    #expect(refused == [1, 3])
    let received = try Self.receive(2, from: socket).map(\.bytes)
    #expect(received == [[0], [2]])
  }

  @Test("a datagram that is too long for a message is seen to be so")
  func aLongOneIsCut() throws {
    let (socket, port) = try Self.open()
    defer { close(socket) }
    let batch = try DatagramBatch(bytes: 200, interface: "lo")
    let bytes = [UInt8](repeating: 7, count: 150)
    let isAdded = batch.add(bytes.span, from: Self.own, to: Self.own, port: port)
    #expect(isAdded)
    batch.send(to: socket, count: 1) { _ in }
    let received = try Self.receive(1, from: socket).map(\.bytes.count)
    #expect(received == [100])
  }
}
