package import DHCP
import Glibc
package import NetworkTypes
import Synchronization

/// The last DHCP messages of every machine that boots, in memory: what a person wants who comes when a
/// boot has failed. Lost with the process, and bounded in bytes.
package final class PacketLog: Sendable {
  package struct Packet: Hashable, Sendable {
    /// Microseconds since 1970-01-01 UTC.
    package var at: UInt64
    /// With its IPv4 header.
    package var bytes: [UInt8]
  }

  private struct Machine {
    var packets: [Packet] = []
    var lastHeard: UInt64 = 0
  }

  private struct State {
    var machines: [MACAddress: Machine] = [:]
    var bytes = 0
  }

  private let state = Mutex(State())
  private let byteLimit: Int

  /// Packets kept of one machine: the exchanges of two boots through firmware, iPXE and stage 1.
  package static let packetLimit = 32

  /// - Parameter byteLimit: Of all packets together; beyond it, those go of which nothing was heard the longest.
  package init(byteLimit: Int = 16 << 20) {
    self.byteLimit = byteLimit
  }

  /// Keeps an exchange that is over now.
  package func keep(_ packets: ExchangePackets, of mac: MACAddress, at now: UInt64 = PacketLog.now) {
    state.withLock { state in
      var machine = state.machines[mac] ?? Machine()
      // The request came before; a machine with a clock has no use for two packets at one time.
      machine.packets.append(Packet(at: now - 1, bytes: packets.request))
      if let reply = packets.reply { machine.packets.append(Packet(at: now, bytes: reply)) }
      state.bytes += packets.request.count + (packets.reply?.count ?? 0)
      while machine.packets.count > Self.packetLimit { state.bytes -= machine.packets.removeFirst().bytes.count }
      machine.lastHeard = now
      state.machines[mac] = machine
      if state.bytes > byteLimit { forgetOldest(&state) }
    }
  }

  /// A quarter at once, so that a flood of machines does not sort them for each packet.
  private func forgetOldest(_ state: inout State) {
    for (mac, machine) in state.machines.sorted(by: { $0.value.lastHeard < $1.value.lastHeard }) {
      guard state.bytes > byteLimit / 4 * 3 else { return }
      state.machines[mac] = nil
      state.bytes -= machine.packets.reduce(0) { $0 + $1.bytes.count }
    }
  }

  /// Packets of a node's cards, the oldest first.
  package func packets(of macs: [MACAddress]) -> [Packet] {
    state.withLock { state in macs.flatMap { state.machines[$0]?.packets ?? [] } }.sorted { $0.at < $1.at }
  }

  /// Microseconds since 1970-01-01 UTC.
  package static var now: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(max(0, time.tv_sec)) * 1_000_000 + UInt64(time.tv_nsec / 1000)
  }
}
