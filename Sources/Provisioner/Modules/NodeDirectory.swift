import NetworkTypes
import Synchronization

/// Every node as templates list them, made anew only where a node or an address has changed.
package final class NodeDirectory: Sendable {
  private let registry: Registry
  private let known = Mutex<(revision: Int, items: [NodeItem])>((-1, []))

  package init(registry: Registry) {
    self.registry = registry
  }

  /// Changes with what is listed.
  var revision: Int { registry.read { $0.directoryRevision } }

  /// In the order of their names.
  func items() -> (revision: Int, [NodeItem]) {
    let now = revision
    if let items = known.withLock({ $0.revision == now ? $0.items : nil }) { return (now, items) }
    let defaults = registry.defaults
    let (revision, found) = registry.read { view in
      (
        view.directoryRevision,
        view.nodes.values.map { node in
          let address = node.address ?? node.macs.firstAnswer { view.leasedAddress(of: $0) }
          return NodeItem(
            name: node.name, address: address?.description, mac: node.macs.first?.description,
            macs: node.macs.map(\.description), groups: node.groups(defaults))
        }
      )
    }
    let items = found.sorted { $0.name < $1.name }
    known.withLock { known in if revision > known.revision { known = (revision, items) } }
    return (revision, items)
  }
}
