import Foundation
import Glibc
import Synchronization

/// What a network does to packets, in each direction.
struct NetworkWeather: Sendable, CustomStringConvertible {
  /// Of each packet, from 0 to 1, that it is lost, that it comes twice, that those behind it overtake it.
  var loss = 0.0
  var duplication = 0.0
  var reordering = 0.0

  var description: String { "loss \(loss), duplication \(duplication), reordering \(reordering)" }
}

/// A network between clients and a server of UDP on loopback that loses, doubles and delays packets: clients send to
/// `port`, and what passes goes on to the server. Each port of the server that answers a client gets one here, so that
/// a client sees a transfer's port change as it would without.
///
/// What happens to the first, second, third packet of a client follows from the file it asks for, and is the same in
/// every run.
final class LossyRelay: Sendable {
  /// Where clients send to.
  let port: Int
  private let listening: Int32
  private let isStopping = Mutex(false)

  /// - Parameter server: The server's port on 127.0.0.1.
  init(to server: Int, _ weather: NetworkWeather) throws {
    let listening = try Self.makeSocket()
    self.listening = listening
    port = Self.port(of: listening)
    Thread.detachNewThread { [self] in
      var network = RelayedNetwork(listening: listening, server: server, weather: weather)
      while !isStopping.withLock({ $0 }) { network.step() }
      network.close()
    }
  }

  func stop() {
    isStopping.withLock { $0 = true }
  }

  fileprivate static func makeSocket() throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    var name = address(0)
    let result = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    return descriptor
  }

  fileprivate static func port(of descriptor: Int32) -> Int {
    var name = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    }
    return Int(UInt16(bigEndian: name.sin_port))
  }

  fileprivate static func address(_ port: Int) -> sockaddr_in {
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = UInt16(port).bigEndian
    name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return name
  }
}

/// The relay's sockets and what is on its way; belongs to its thread.
private struct RelayedNetwork {
  /// A client: the socket that speaks to the server for it, and those that speak to it for the server's ports.
  private struct Client {
    var port: Int
    var towardsServer: Int32
    var towardsClient: [Int: Int32] = [:]
    /// One stream of chances for each direction.
    var chances: [SeededGenerator]
  }

  private struct Packet {
    var time: Double
    var bytes: [UInt8]
    var descriptor: Int32
    var port: Int
  }

  private let listening: Int32
  private let server: Int
  private let weather: NetworkWeather
  private var clients: [Client] = []
  private var delayed: [Packet] = []

  init(listening: Int32, server: Int, weather: NetworkWeather) {
    self.listening = listening
    self.server = server
    self.weather = weather
  }

  /// Waits for a packet, or the time of a delayed one, and carries what there is.
  mutating func step() {
    var waits = [pollfd(fd: listening, events: Int16(POLLIN), revents: 0)]
    for client in clients {
      for descriptor in [client.towardsServer] + client.towardsClient.values {
        waits.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
      }
    }
    poll(&waits, nfds_t(waits.count), delayed.isEmpty ? 20 : 1)
    while let (bytes, port) = receive(listening) { asked(bytes, by: port) }
    for index in clients.indices {
      while let (bytes, port) = receive(clients[index].towardsServer) { answered(bytes, from: port, to: index) }
      for (port, descriptor) in clients[index].towardsClient {
        while let (bytes, _) = receive(descriptor) {
          carry(bytes, over: clients[index].towardsServer, to: port, of: index, direction: 0)
        }
      }
    }
    let now = Self.clock()
    for packet in delayed where packet.time <= now { send(packet.bytes, over: packet.descriptor, to: packet.port) }
    delayed.removeAll { $0.time <= now }
  }

  func close() {
    Glibc.close(listening)
    for client in clients {
      for descriptor in [client.towardsServer] + client.towardsClient.values { Glibc.close(descriptor) }
    }
  }

  private mutating func asked(_ bytes: [UInt8], by port: Int) {
    var index = clients.firstIndex { $0.port == port }
    if index == nil, let descriptor = try? LossyRelay.makeSocket() {
      // The name in the request.
      let name = bytes.dropFirst(2).prefix { $0 != 0 }
      let seed = name.reduce(UInt64(1)) { $0 &* 257 &+ UInt64($1) }
      clients.append(
        Client(
          port: port, towardsServer: descriptor,
          chances: [SeededGenerator(seed: seed), SeededGenerator(seed: seed &+ 1)]))
      index = clients.count - 1
    }
    guard let index else { return }
    carry(bytes, over: clients[index].towardsServer, to: server, of: index, direction: 0)
  }

  private mutating func answered(_ bytes: [UInt8], from port: Int, to index: Int) {
    if clients[index].towardsClient[port] == nil {
      clients[index].towardsClient[port] = try? LossyRelay.makeSocket()
    }
    guard let descriptor = clients[index].towardsClient[port] else { return }
    carry(bytes, over: descriptor, to: clients[index].port, of: index, direction: 1)
  }

  private mutating func carry(_ bytes: [UInt8], over descriptor: Int32, to port: Int, of index: Int, direction: Int) {
    func happens(_ probability: Double) -> Bool {
      Double.random(in: 0..<1, using: &clients[index].chances[direction]) < probability
    }
    let (isLost, isDoubled, isLate) = (
      happens(weather.loss), happens(weather.duplication), happens(weather.reordering)
    )
    guard !isLost else { return }
    for _ in 0..<(isDoubled ? 2 : 1) {
      if isLate {
        // Long enough for the answer to others, and short beside every client's timer.
        delayed.append(Packet(time: Self.clock() + 0.005, bytes: bytes, descriptor: descriptor, port: port))
      } else {
        send(bytes, over: descriptor, to: port)
      }
    }
  }

  private func receive(_ descriptor: Int32) -> (bytes: [UInt8], port: Int)? {
    var buffer = [UInt8](repeating: 0, count: 65536)
    var name = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let count = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
      }
    }
    return count < 0 ? nil : (Array(buffer[..<count]), Int(UInt16(bigEndian: name.sin_port)))
  }

  private func send(_ bytes: [UInt8], over descriptor: Int32, to port: Int) {
    var name = LossyRelay.address(port)
    withUnsafePointer(to: &name) {
      _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }

  /// Seconds.
  private static func clock() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}

/// Random numbers that are the same in every run (SplitMix64).
private struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) {
    state = seed
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
