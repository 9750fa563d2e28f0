import DHCP
import FoundationEssentials
import NIOPosix
import NetworkTypes
import Provisioner

/// The doctor's look at the networks: who else answers DHCP there, and which addresses strangers use.
struct DHCPExamination {
  private let configuration: Configuration
  private let isRunning: Bool

  /// A server that probes addresses before it offers them answers late: dnsmasq after three seconds.
  private static let searchMilliseconds = 4000

  init(_ configuration: Configuration, isRunning: Bool) {
    self.configuration = configuration
    self.isRunning = isRunning
  }

  func findings(on interfaces: [ServedInterface]) async -> [Finding] {
    let info = isRunning ? await info() : nil
    var findings: [Finding] = []
    for interface in interfaces { findings.append(await servers(on: interface)) }
    findings += (info?.pools ?? []).map(Self.pool)
    if let network = info?.network {
      // Those that were heard, and do not answer now.
      let silent = network.otherServers.filter { server in !findings.contains { $0.detail.contains("\(server.mac)") } }
      if !silent.isEmpty, configuration.dhcp.mode == .authoritative {
        let list = silent.map { "\($0.address) (card \($0.mac)), last at \($0.lastHeard)" }.joined(separator: ", ")
        findings.append(Finding(check: "DHCP servers heard since the start", ok: false, detail: list + Self.remedy))
      }
      if !network.conflicts.isEmpty {
        let list = network.conflicts.map { conflict in
          "\(conflict.address)" + (conflict.mac.map { " (card \($0))" } ?? "") + " at \(conflict.found)"
        }
        findings.append(
          Finding(
            check: "addresses of the pool in use by strangers", ok: false,
            detail: list.joined(separator: ", ")
              + ": nobody gets them meanwhile. Give these machines addresses outside of dhcp.pool."))
      }
    }
    return findings
  }

  private func info() async -> InfoView? {
    let client = ControlSocketClient(path: configuration.paths.controlSocket)
    guard let answer = try? await client.send(AdminRequest(.get, ["info"])), answer.status == 200 else { return nil }
    return try? JSONDecoder().decode(InfoView.self, from: Data(answer.body))
  }

  private static func pool(_ pool: PoolView) -> Finding {
    let check = "addresses of \(pool.pool)"
    guard pool.free == 0 else { return Finding(check: check, ok: true, detail: pool.words) }
    return Finding(
      check: check, ok: false,
      detail: "\(pool.words): a machine that has none yet gets none. `perseid lease list` shows who has them; "
        + "widen the pool, or shorten dhcp.leaseSeconds where machines come and go.")
  }

  private static let remedy =
    ". Machines may get wrong addresses or not boot: find it by its hardware address in the switches' tables and stop "
    + "it, or set dhcp.mode to proxy or off if it is to give the addresses."

  private func servers(on interface: ServedInterface) async -> Finding {
    let check = "other DHCP servers on \(interface.name)"
    let (name, own) = (interface.name, interface.address)
    let found: [OtherServer]
    do {
      found = try await NIOThreadPool.singleton.runIfActive {
        try ServerSearch.servers(on: name, own: own, milliseconds: Self.searchMilliseconds)
      }
    } catch {
      return Finding(check: check, ok: false, detail: "\(error)")
    }
    let list = found.map { "\($0.address) (card \($0.card))" }.joined(separator: ", ")
    switch configuration.dhcp.mode {
    case .authoritative:
      if found.isEmpty { return Finding(check: check, ok: true, detail: "none answers") }
      return Finding(check: check, ok: false, detail: "\(list) answers" + Self.remedy)
    case .proxy, .off:
      if !found.isEmpty { return Finding(check: check, ok: true, detail: "\(list) answers, as dhcp.mode wants it") }
      return Finding(
        check: check, ok: false,
        detail: "none answers, and dhcp.mode is \(configuration.dhcp.mode.rawValue): machines get no addresses. "
          + "Start that server, or set dhcp.mode to authoritative.")
    }
  }
}
