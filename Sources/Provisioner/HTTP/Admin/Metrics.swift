import DHCP
import NetworkTypes

/// The appliance in figures, in the text format that Prometheus reads (exposition format 0.0.4).
struct Metrics {
  private(set) var text = ""

  enum Kind: String {
    /// What goes up and down.
    case gauge
    /// What only goes up, from the start of the appliance.
    case counter
  }

  struct Sample {
    var labels: KeyValuePairs<String, String> = [:]
    var value: Int
  }

  /// - Parameter help: One sentence, without a backslash or a line's end.
  mutating func add(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
    text += "# HELP perseid_\(name) \(help)\n# TYPE perseid_\(name) \(kind.rawValue)\n"
    for sample in samples {
      let labels = sample.labels.map { "\($0.key)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
      text += "perseid_\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(sample.value)\n"
    }
  }

  mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Int) {
    add(name, kind, help, [Sample(value: value)])
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
  }
}

extension Appliance {
  /// What somebody watches over the months, and wants to be called for.
  func metrics() throws -> String {
    let (info, summary) = (info(), try nodeSummary())
    var metrics = Metrics()
    metrics.add("info", .gauge, "The appliance's version.", [.init(labels: ["version": info.version], value: 1)])
    metrics.add(
      "nodes", .gauge, "Nodes by provisionary state.",
      summary.states.sorted { $0.key < $1.key }.map { .init(labels: ["state": $0.key], value: $0.value) })
    metrics.add("nodes_enabled", .gauge, "Nodes that may boot.", summary.enabled)
    metrics.add(
      "nodes_in_trouble", .gauge, "Nodes that are stuck, silent, or told to wait.",
      NodeCondition.allCases.filter { $0 != .good }.map { condition in
        let troubles = summary.troubles.filter { $0.condition == condition }
        return .init(labels: ["condition": condition.rawValue], value: troubles.reduce(0) { $0 + $1.count })
      })
    metrics.add("capsules", .gauge, "Capsules.", info.capsules)
    add(info.pools, to: &metrics)
    add(info.network, to: &metrics)
    return metrics.text
  }

  private func add(_ pools: [PoolView], to metrics: inout Metrics) {
    metrics.add(
      "pool_addresses", .gauge, "Addresses of a pool by what they are.",
      pools.flatMap { pool in
        [("bound", pool.bound), ("kept", pool.kept), ("declined", pool.declined), ("free", pool.free)].map {
          .init(labels: ["pool": pool.pool.description, "is": $0.0], value: $0.1)
        }
      })
  }

  private func add(_ network: NetworkView, to metrics: inout Metrics) {
    /// Counters of each interface; `label` tells those of one name apart.
    func count(
      _ name: String, _ help: String, label: String? = nil, _ counts: (DHCPStatistics) -> [(String, Int)]
    ) {
      metrics.add(
        name, .counter, help,
        network.dhcp.flatMap { entry in
          counts(entry.statistics).map { word, value in
            label.map { .init(labels: ["interface": entry.interface, $0: word], value: value) }
              ?? .init(labels: ["interface": entry.interface], value: value)
          }
        })
    }
    count("dhcp_received_total", "DHCP messages that were read.") { [("", $0.received)] }
    count("dhcp_replies_total", "Replies of the DHCP server.", label: "type") {
      [("offer", $0.offers), ("ack", $0.acknowledgements), ("nak", $0.refusals)]
    }
    count("dhcp_replies_lost_total", "Replies of the DHCP server that did not leave.", label: "reason") {
      [("overloaded", $0.overloaded), ("not-sent", $0.unsent), ("not-written", $0.uncommitted)]
    }
    count("dhcp_ignored_total", "Packets without use for the DHCP server.", label: "reason") {
      $0.ignored.sorted { $0.key < $1.key }
    }
    count("dhcp_unprobed_offers_total", "Offers of addresses that nobody had probed.") { [("", $0.unprobedOffers)] }
    metrics.add(
      "dhcp_other_servers", .gauge, "Other DHCP servers heard since the start.", network.otherServers.count)
    metrics.add(
      "dhcp_conflicts", .gauge, "Addresses of pools found in use by strangers since the start.",
      network.conflicts.count)
  }
}
