import CLinux
import DHCPWire
import Foundation
import Glibc
import Lab
import NetworkTypes

/// Many clients in one process, which come to the server in one of two ways.
///
/// More of its packets can wait than of perfdhcp's (208 KiB, some 160 packets): one that the processors leave waiting for
/// a few milliseconds loses none of its answers, so that what is lost was lost by the server.
struct DHCPLoad {
  /// How the clients' packets come to the server.
  enum Way {
    /// In broadcasts on the segment itself, in frames of their own, as those of machines that have no address yet.
    case broadcast(interface: String)
    /// Through a relay agent with an address (RFC 2131, section 4.1: giaddr), from its port to the server's.
    case relayed(agent: IPv4Address, server: IPv4Address)
  }

  struct Result: Codable, Sendable {
    /// Clients that began.
    var sent = 0
    /// Clients that have their ACK, within ``DHCPLoad/patience``.
    var finished = 0
    /// From the first DISCOVER to the last, in seconds.
    var seconds = 0.0
    /// The slowest of a hundred REQUESTs got its ACK after so many milliseconds, and a DISCOVER its OFFER.
    var acknowledgeMilliseconds = 0.0
    var offerMilliseconds = 0.0

    var perSecond: Double { Double(finished) / seconds }
    var drops: Double { sent == 0 ? 1 : 1 - Double(finished) / Double(sent) }
  }

  private struct Client {
    var began = 0.0
    var requested = 0.0
    var isFinished = false
  }

  /// Seconds after which a client's exchange counts as lost.
  private static let patience = 1.0
  private static let batch = 64
  /// The least time between two awakenings for the clients that begin, in seconds: to be woken for each of them would take
  /// the processors from the server.
  private static let pause = 0.000_25
  private static let frameBytes = 2048
  /// Bytes that may wait for the socket.
  private static let bufferBytes: CInt = 16 << 20

  private let descriptor: CInt
  /// Bytes in front of the DHCP message: of a frame, or none of a datagram.
  private let header: Int
  /// Machines that the clients are, by turns: more than the pool has addresses for could not be served.
  private let machines: Int
  private let rate: Double
  private var clients: [Client]
  private var discover: [UInt8]
  private var request: [UInt8]
  /// Packets to be sent together, one behind the other.
  private var packets: [UInt8] = []
  private var lengths: [UInt32] = []
  private var offerTimes: [Double] = []
  private var acknowledgeTimes: [Double] = []

  /// - Parameters:
  ///   - rate: Clients that begin in each second.
  ///   - machines: How many of them are different ones.
  init(_ way: Way, rate: Double, clients: Int, machines: Int) throws {
    let discover = Self.message([53, 1, 1, 55, 4, 1, 3, 6, 15, 255])
    let request = Self.message([53, 1, 3, 50, 4, 0, 0, 0, 0, 54, 4, 0, 0, 0, 0, 55, 4, 1, 3, 6, 15, 255])
    switch way {
    case .broadcast(let interface):
      descriptor = clinux_bench_frames(interface, Self.bufferBytes)
      header = UDPFrame.headerLength
      self.discover = Self.broadcast(discover)
      self.request = Self.broadcast(request)
    case .relayed(let agent, let server):
      descriptor = try Self.relay(agent, server)
      header = 0
      self.discover = Self.relayed(discover, by: agent)
      self.request = Self.relayed(request, by: agent)
    }
    guard descriptor >= 0 else {
      throw LabError("no socket for \(way): \(String(cString: strerror(-descriptor)))")
    }
    self.rate = rate
    self.machines = machines
    self.clients = Array(repeating: Client(), count: clients)
  }

  private static func relay(_ agent: IPv4Address, _ server: IPv4Address) throws -> CInt {
    let descriptor = clinux_tftp_socket(agent.rawValue, DHCPPort.server, 0)
    guard descriptor >= 0 else { return descriptor }
    clinux_tftp_receive_buffer(descriptor, bufferBytes)
    let result = clinux_bench_connect(descriptor, server.rawValue, DHCPPort.server)
    if result < 0 { close(descriptor) }
    return result < 0 ? result : descriptor
  }

  /// A BOOTREQUEST with these options, without its client's hardware address and transaction.
  private static func message(_ options: [UInt8]) -> [UInt8] {
    var message = [UInt8](repeating: 0, count: 300)
    message.replaceSubrange(0..<3, with: [1, 1, 6])
    message.replaceSubrange(236..<240, with: [99, 130, 83, 99])
    message.replaceSubrange(240..<240 + options.count, with: options)
    return message
  }

  private static func relayed(_ message: [UInt8], by agent: IPv4Address) -> [UInt8] {
    var message = message
    message[3] = 1
    for place in 0..<4 { message[24 + place] = UInt8(truncatingIfNeeded: agent.rawValue >> UInt32(24 - 8 * place)) }
    return message
  }

  private static func broadcast(_ message: [UInt8]) -> [UInt8] {
    var message = [UInt8](repeating: 0, count: UDPFrame.headerLength) + message
    UDPFrame(
      sourceCard: MACAddress(rawValue: 2 << 40), destinationCard: .broadcast, source: .any, destination: .broadcast,
      sourcePort: DHCPPort.client, destinationPort: DHCPPort.server
    ).writeHeaders(into: &message)
    // No checksum, so that a frame is its client's by a few bytes.
    message.replaceSubrange(40..<42, with: [0, 0])
    return message
  }

  private mutating func send(_ frame: [UInt8], for index: Int) {
    let start = packets.count
    packets += frame
    lengths.append(UInt32(frame.count))
    // Other cards than those that perfdhcp pretends to have.
    let card = 6 << 40 + UInt64(index % machines)
    for place in 0..<6 {
      let byte = UInt8(truncatingIfNeeded: card >> UInt64(40 - 8 * place))
      if header > 0 { packets[start + 6 + place] = byte }
      packets[start + header + 28 + place] = byte
    }
    for place in 0..<4 {
      packets[start + header + 4 + place] = UInt8(truncatingIfNeeded: index >> (24 - 8 * place))
    }
  }

  /// What the kernel does not take is lost.
  private mutating func flush() {
    guard !lengths.isEmpty else { return }
    _ = clinux_dhcp_send_frames(descriptor, packets, lengths, UInt32(lengths.count))
    packets.removeAll(keepingCapacity: true)
    lengths.removeAll(keepingCapacity: true)
  }

  /// Begins as many clients per second as asked for, and answers every OFFER at once.
  mutating func run() throws -> Result {
    var result = Result()
    let begin = Self.clock()
    var buffer = [UInt8](repeating: 0, count: Self.batch * Self.frameBytes)
    var counts = [UInt32](repeating: 0, count: Self.batch)
    var last = begin
    while true {
      var now = Self.clock()
      while result.sent < clients.count, Double(result.sent) / rate <= now - begin {
        clients[result.sent].began = now
        send(discover, for: result.sent)
        result.sent += 1
        last = now
      }
      flush()
      let isOver = result.sent == clients.count && now - last > Self.patience
      if isOver || result.finished == clients.count { break }
      let next = result.sent < clients.count ? begin + Double(result.sent) / rate - now : 0.01
      guard clinux_bench_wait(descriptor, Int64(max(Self.pause, min(next, 0.01)) * 1e9)) > 0 else { continue }
      let count = clinux_bench_receive(descriptor, &buffer, Self.frameBytes, &counts, CInt(Self.batch))
      now = Self.clock()
      for index in 0..<max(0, Int(count)) {
        received(buffer[index * Self.frameBytes..<index * Self.frameBytes + Int(counts[index])], now, &result)
      }
      flush()
    }
    close(descriptor)
    result.seconds = last - begin
    result.offerMilliseconds = Self.percentile(offerTimes)
    result.acknowledgeMilliseconds = Self.percentile(acknowledgeTimes)
    return result
  }

  private mutating func received(_ frame: ArraySlice<UInt8>, _ now: Double, _ result: inout Result) {
    let start = frame.startIndex
    let message = start + header
    guard frame.count > header + 240, frame[message] == 2 else { return }
    if header > 0 {
      guard frame[start + 23] == 17, frame[start + 36] == 0, frame[start + 37] == 68 else { return }
    }
    let index = frame[message + 4..<message + 8].reduce(0) { $0 << 8 | Int($1) }
    guard clients.indices.contains(index), !clients[index].isFinished else { return }
    var type: UInt8 = 0
    var server = [UInt8](repeating: 0, count: 4)
    var place = message + 240
    while place + 1 < frame.endIndex, frame[place] != 255 {
      if frame[place] == 0 {
        place += 1
        continue
      }
      let length = Int(frame[place + 1])
      guard place + 2 + length <= frame.endIndex else { return }
      if frame[place] == 53 { type = frame[place + 2] }
      if frame[place] == 54, length == 4 { server = Array(frame[place + 2..<place + 6]) }
      place += 2 + length
    }
    switch type {
    case 2 where clients[index].requested == 0:
      offerTimes.append(now - clients[index].began)
      clients[index].requested = now
      request.replaceSubrange(header + 245..<header + 249, with: frame[message + 16..<message + 20])
      request.replaceSubrange(header + 251..<header + 255, with: server)
      send(request, for: index)
    case 5:
      clients[index].isFinished = true
      acknowledgeTimes.append(now - clients[index].requested)
      if now - clients[index].began <= Self.patience { result.finished += 1 }
    default: break
    }
  }

  private static func percentile(_ times: [Double]) -> Double {
    let sorted = times.sorted()
    return sorted.isEmpty ? .infinity : sorted[min(sorted.count - 1, sorted.count * 99 / 100)] * 1000
  }

  /// Seconds.
  private static func clock() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
