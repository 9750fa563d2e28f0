import Foundation
import Glibc
import Lab
import NetworkTypes
import Synchronization
import Testing

@testable import DHCP

/// What was acknowledged is on the disk: the order of system calls shows it, and so does a server that is killed.
@Suite(.enabled(if: NetworkNamespace.isAvailable, Comment(rawValue: NetworkNamespace.unavailable)), .serialized)
struct DurabilityTests {
  /// Runs an appliance whose state is on a disk, not in memory.
  private func withAppliance(
    _ settings: Appliance.Settings = Appliance.Settings(), _ body: (Site, Appliance) async throws -> Void
  ) async throws {
    // Where capsules are kept between runs: no memory would hold them.
    try FileManager.default.createDirectory(atPath: Cache.directory, withIntermediateDirectories: true)
    let state = "\(Cache.directory)/durability-\(UInt32.random(in: .min ... .max))"
    defer { try? FileManager.default.removeItem(atPath: state) }
    try await Site.with { site in
      let appliance = try Appliance(site, state: state, settings: settings)
      let kind = try await Command("stat", "-f", "-c", "%T", state).run().check().output
      try #require(!kind.contains("tmpfs") && !kind.contains("ramfs"), "\(state) is in memory: \(kind)")
      try await body(site, appliance)
      await appliance.stop()
    }
  }

  @Test("the lease is written, and the write-ahead log synchronised, before the ACK leaves")
  func order() async throws {
    try await withAppliance { site, appliance in
      try await appliance.start()
      let pid = try #require(appliance.pid)
      let file = site.directory + "/trace"
      let trace = try RunningProcess(
        Command(
          "strace", "-f", "-y", "-s", "8192", "-e", "trace=pwrite64,write,fsync,fdatasync,sendto,sendmsg,sendmmsg",
          "-o", file, "-p", "\(pid)"))
      try await trace.log.line(containing: "attached", within: .seconds(20))
      let card = Crowd.cards(1)
      let leases = try await site.withHost("client") { client in
        try await Crowd(namespace: client).run(card, to: .lease)
      }
      let address = try #require(leases[card[0]])
      await trace.stop()

      let calls = SystemCalls(try String(decoding: Data(contentsOf: URL(filePath: file)), as: UTF8.self))
      let ack = try #require(calls.all.first { $0.isACK }, "no ACK in the trace")
      let written = try #require(
        calls.all.last {
          $0.name == "pwrite64" && $0.isOnLog && $0.text.contains("lease/\(address)") && $0.end < ack.begin
        }, "the lease was not written before the ACK")
      let synchronised = calls.all.filter {
        ["fsync", "fdatasync"].contains($0.name) && $0.isOnLog && $0.text.hasSuffix("= 0")
          && $0.begin > written.end && $0.end < ack.begin
      }
      #expect(!synchronised.isEmpty, "no synchronisation between the lease and its ACK")
    }
  }

  @Test(
    "killed again and again under load, the server honours every ACK and gives no address twice",
    .timeLimit(.minutes(10)))
  func killed() async throws {
    var settings = Appliance.Settings()
    settings.pool = "10.77.0.2-10.77.0.252"
    try await withAppliance(settings) { site, appliance in
      try await site.withHost("clients") { host in
        let crowd = Crowd(namespace: host)
        var held: [MACAddress: IPv4Address] = [:]
        for _ in 0..<5 {
          try await appliance.start()
          let cards = Crowd.cards(45)
          let over = Flag()
          // At some moment: while none has a lease, some have, or all.
          let moment = Int.random(in: 0...cards.count)
          let (reached, isReached) = AsyncStream<Void>.makeStream()
          async let leases = {
            defer { isReached.finish() }
            return try await crowd.run(cards, to: .lease) { done in
              if done >= moment { isReached.finish() }
              return over.isSet
            }
          }()
          for await _ in reached {}
          await appliance.kill()
          over.set()
          held.merge(try await leases) { $1 }
        }
        try await appliance.start()
        #expect(!held.isEmpty)
        #expect(Set(held.values).count == held.count, "one address, two clients")
        let confirmed = try await crowd.run(Array(held.keys), to: .reboot(held))
        #expect(confirmed == held, "an ACK that was not honoured")
        let news = try await crowd.run(Crowd.cards(20), to: .lease, within: 20)
        #expect(Set(news.values).isDisjoint(with: held.values) && Set(news.values).count == news.count)
        print("\(held.count) leases acknowledged, all honoured after five kills")
      }
    }
  }
}

private final class Flag: Sendable {
  private let value = Atomic(false)
  var isSet: Bool { value.load(ordering: .relaxed) }
  func set() { value.store(true, ordering: .relaxed) }
}

/// What strace wrote: each call with where it began and where it was over, in lines.
private struct SystemCalls {
  struct Call {
    var name: String
    var text: String
    var begin: Int
    var end: Int

    /// On SQLite's write-ahead log.
    var isOnLog: Bool { text.contains("store.sqlite-wal>") }
    /// Option 53 with the value 5 in a frame or datagram of DHCP, whose cookie stands right before it.
    var isACK: Bool {
      // strace writes a byte with three digits where a digit follows.
      ["sendto", "sendmsg", "sendmmsg", "write"].contains(name)
        && (text.contains(#"c\202Sc5\1\5"#) || text.contains(#"c\202Sc5\1\005"#))
    }
  }

  private(set) var all: [Call] = []

  init(_ trace: String) {
    var open: [Substring: Call] = [:]
    for (number, line) in trace.split(separator: "\n").enumerated() {
      let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: true)
      guard parts.count == 2 else { continue }
      let (thread, rest) = (parts[0], parts[1].drop { $0 == " " })
      if rest.hasPrefix("<... ") {
        guard var call = open.removeValue(forKey: thread) else { continue }
        call.text += rest
        call.end = number
        all.append(call)
      } else if let bracket = rest.firstIndex(of: "(") {
        let call = Call(name: String(rest[..<bracket]), text: String(rest), begin: number, end: number)
        if rest.hasSuffix("<unfinished ...>") { open[thread] = call } else { all.append(call) }
      }
    }
    all.sort { $0.end < $1.end }
  }
}
