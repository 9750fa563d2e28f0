import ArgumentParser
import DHCP
import NetworkTypes
import Provisioner

/// `perseid info`
struct Info: ShowingVerb {
  static let configuration = CommandConfiguration(abstract: "Show the appliance's version, configuration and counts.")

  @OptionGroup var common: CommonOptions
  @OptionGroup var output: OutputOptions

  var request: AdminRequest { AdminRequest(.get, ["info"]) }

  func text(_ info: InfoView) -> String {
    var sheet = Sheet()
    sheet.add("version", info.version)
    sheet.add("configuration", info.configuration)
    sheet.add("state", info.stateDirectory)
    sheet.add("interfaces", info.interfaces.joined(separator: ", "))
    sheet.add("nodes", String(info.nodes))
    sheet.add("groups", String(info.groups))
    sheet.add("capsules", String(info.capsules))
    sheet.add("process", String(info.process))
    for pool in info.pools { sheet.add("pool", "\(pool.pool): \(pool.words)") }
    for entry in info.network.dhcp { sheet.add("dhcp \(entry.interface)", entry.statistics.words) }
    for server in info.network.otherServers {
      sheet.add("other server", "\(server.address), card \(server.mac), last heard \(server.lastHeard)")
    }
    for conflict in info.network.conflicts {
      let card = conflict.mac.map { ", card \($0)" } ?? ""
      sheet.add("conflict", "\(conflict.address)\(card), found \(conflict.found)")
    }
    return sheet.text
  }
}

extension PoolView {
  /// `50 addresses, 12 leased, 3 kept for nodes, 35 free`.
  var words: String {
    let parts = [
      (addresses, addresses == 1 ? "address" : "addresses"), (bound, "leased"), (kept, "kept for nodes"),
      (declined, "used by strangers"),
    ]
    return parts.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ") + ", \(free) free"
  }
}

extension DHCPStatistics {
  /// What happened at all, a count for each; what was ignored, by reason.
  fileprivate var words: String {
    let counts = [
      ("received", received), ("offers", offers), ("acknowledged", acknowledgements), ("refused", refusals),
      ("not sent", unsent), ("overloaded", overloaded), ("not written", uncommitted),
      ("replies of other servers", otherServers), ("probes", probes), ("probed and ready", ready),
      ("conflicts", conflicts),
      ("unprobed offers", unprobedOffers),
    ]
    let reasons = ignored.sorted { $0.key < $1.key }.map { ("ignored: \($0.key)", $0.value) }
    let words = (counts + reasons).filter { $0.1 > 0 }.map { "\($0.0) \($0.1)" }
    return words.isEmpty ? "nothing yet" : words.joined(separator: ", ")
  }
}
