import Foundation
import NetworkTypes
import Synchronization
import TFTP
import Testing

@testable import Provisioner

/// Time stands still but for what the tests say.
@Suite("Shares of the rate of delivery")
struct DeliveryShaperTests {
  private static let piece = 65536

  /// Clients that always have more to send, each over so many connections.
  private struct Simulation {
    var shaper: DeliveryShaper<Int>
    var now: Int64 = 1_000_000_000
    var sent: [IPv4Address: Int] = [:]
    let clients: [Int: IPv4Address]

    /// - Parameter connections: Of each client.
    init(_ rates: DeliveryRates, connections: [Int]) {
      shaper = DeliveryShaper(rates)
      var clients: [Int: IPv4Address] = [:]
      for (client, count) in connections.enumerated() {
        for connection in 0..<count { clients[client * 1000 + connection] = IPv4Address(10, 0, 0, UInt8(client + 1)) }
      }
      self.clients = clients
    }

    private mutating func ask(_ ticket: Int) {
      guard let client = clients[ticket] else { return }
      while shaper.ask(ticket, client, bytes: piece, now: now) { sent[client, default: 0] += piece }
    }

    mutating func run(seconds: Double) {
      let end = now + Int64(seconds * 1e9)
      for ticket in clients.keys.sorted() { ask(ticket) }
      while let next = shaper.nextTime, next < end {
        now = max(now, next)
        for ticket in shaper.advance(now: now) {
          sent[clients[ticket] ?? .any, default: 0] += piece
          ask(ticket)
        }
      }
      now = end
    }

    func rate(_ client: Int, seconds: Double) -> Double {
      Double(sent[IPv4Address(10, 0, 0, UInt8(client + 1))] ?? 0) / seconds
    }
  }

  @Test("are equal among nodes, however many connections each has")
  func fairness() {
    var simulation = Simulation(DeliveryRates(total: 10_000_000), connections: [8, 1, 1, 2])
    simulation.run(seconds: 20)
    for client in 0..<4 {
      #expect(abs(simulation.rate(client, seconds: 20) / 2_500_000 - 1) < 0.05, "client \(client)")
    }
  }

  @Test("are together no more than the rate of all, and no less")
  func total() {
    var simulation = Simulation(DeliveryRates(total: 50_000_000), connections: Array(repeating: 1, count: 64))
    simulation.run(seconds: 10)
    let sum = Double(simulation.sent.values.reduce(0, +)) / 10
    #expect(abs(sum / 50_000_000 - 1) < 0.02)
  }

  @Test("are each no more than the rate of one; what one may not have, others get")
  func perClient() {
    var simulation = Simulation(
      DeliveryRates(total: 10_000_000, perClient: 4_000_000), connections: [1, 8])
    simulation.run(seconds: 10)
    #expect(abs(simulation.rate(0, seconds: 10) / 4_000_000 - 1) < 0.05)
    #expect(abs(simulation.rate(1, seconds: 10) / 4_000_000 - 1) < 0.05)
    var alone = Simulation(DeliveryRates(perClient: 4_000_000), connections: [3])
    alone.run(seconds: 10)
    #expect(abs(alone.rate(0, seconds: 10) / 4_000_000 - 1) < 0.05)
  }

  @Test("of one who comes late begin at once, and those who were served before owe it nothing")
  func late() {
    var shaper = DeliveryShaper<Int>(DeliveryRates(total: 1_000_000))
    var now: Int64 = 0
    let early = IPv4Address(10, 0, 0, 1)
    let late = IPv4Address(10, 0, 0, 2)
    for ticket in 0..<100 { _ = shaper.ask(ticket, early, bytes: Self.piece, now: now) }
    for _ in 0..<20 {
      now = shaper.nextTime ?? now
      _ = shaper.advance(now: now)
    }
    let isAtOnce = shaper.ask(1000, late, bytes: Self.piece, now: now)
    #expect(!isAtOnce)
    var order: [Int] = []
    while order.count < 3, let next = shaper.nextTime {
      now = max(now, next)
      order += shaper.advance(now: now)
    }
    #expect(order.prefix(2).contains(1000), "\(order)")
  }

  @Test("of connections that are gone are not waited for")
  func withdrawn() {
    var shaper = DeliveryShaper<Int>(DeliveryRates(total: 1_000_000, perClient: 900_000))
    let client = IPv4Address(10, 0, 0, 1)
    for ticket in 0..<10 { _ = shaper.ask(ticket, client, bytes: Self.piece, now: 0) }
    #expect(shaper.waitingCount > 5)
    for ticket in 0..<10 { shaper.withdraw(ticket) }
    #expect(shaper.waitingCount == 0)
    #expect(shaper.nextTime == nil)
    let granted = shaper.advance(now: 10_000_000_000)
    #expect(granted.isEmpty)
  }

  @Test("are read from the configuration in the units that people use, and what is none is refused")
  func rates() {
    #expect(ByteRate("500 MB/s")?.bytes == 500_000_000)
    #expect(ByteRate("100MiB/s")?.bytes == 104_857_600)
    #expect(ByteRate("10 Gbit/s")?.bytes == 1_250_000_000)
    #expect(ByteRate("2.5G")?.bytes == 2_500_000_000)
    #expect(ByteRate("125000000")?.bytes == 125_000_000)
    for text in ["", "fast", "10 Gb/s/s", "-5M", "1", "10 miles", "1e99 G", "0", "5 kb"] {
      #expect(ByteRate(text) == nil, "\(text)")
    }
  }

  @Test("hold on the wire: what comes under a limit takes the time that the limit says, and comes whole")
  func transfer() async throws {
    let files = try Files()
    let bytes = try files.random(6 << 20)
    let api = RecordingAPI(
      NodeResponse(status: 200, contentType: "a/b", body: Content(parts: [try files.part(bytes)]), isImmutable: true))
    var limits = NodeHTTPServer.Limits()
    limits.rates = DeliveryRates(total: 4 << 20)
    try await withServer(api, limits) { port in
      let start = ContinuousClock.now
      try await withThrowingTaskGroup(of: Data.self) { tasks in
        for _ in 0..<2 { tasks.addTask { try await curl(["-s", "http://127.0.0.1:\(port)/"]).output } }
        for try await output in tasks { #expect(output == Data(bytes)) }
      }
      // Twelve at four in a second, but for the burst at the begin.
      #expect(ContinuousClock.now - start > .seconds(2.5))
    }
  }

  @Test("under a limit do not outlive their connections")
  func broken() async throws {
    let files = try Files()
    let api = RecordingAPI(
      NodeResponse(
        status: 200, contentType: "a/b", body: Content(parts: [try files.sparse(1 << 30)]), isImmutable: true))
    var limits = NodeHTTPServer.Limits()
    limits.rates = DeliveryRates(total: 1 << 20, perClient: 1 << 20)
    try await withServer(api, limits) { port in
      for _ in 0..<20 {
        let connection = try RawConnection(port: port)
        try connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.close()
      }
      // The rate is there for who comes next.
      let answer = try await curl([
        "-s", "-r", "0-9", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:\(port)/",
      ])
      #expect(answer.text == "206")
    }
  }
}
