import NetworkTypes

/// The configuration that `perseid init` writes, made from what the machine's interfaces look like.
package enum FirstConfiguration {
  /// The interface the nodes are probably on: the only one with an address that does not lead to the outside.
  /// - Parameters:
  ///   - wanted: As the person says; `nil`: it is to be found.
  ///   - outward: Interfaces that a default route goes through: DHCP there would disturb other people's network.
  /// - Throws: `ApplianceError` with code `refused` that lists what there is.
  package static func interface(
    _ wanted: String?, of system: [SystemInterface], outward: Set<String>
  ) throws -> SystemInterface {
    let usable = system.filter { !$0.isLoopback && $0.address != nil && $0.prefixLength <= 30 }
    if let wanted {
      if let found = usable.first(where: { $0.name == wanted }) { return found }
      throw ApplianceError(
        .refused,
        system.contains { $0.name == wanted }
          ? "\(wanted) has no IPv4 address that a network of nodes could stand on. Give it one, for example: "
            + "ip address add 10.0.0.1/16 dev \(wanted)."
          : "This machine has no interface \(wanted). \(words(system, outward))")
    }
    let inward = usable.filter { !outward.contains($0.name) && !isVirtual($0.name) }
    let names = Set(inward.map(\.name))
    guard let first = inward.first, names.count == 1 else {
      let problem =
        names.isEmpty ? "No interface looks like the nodes' network" : "Several interfaces could be the nodes' network"
      throw ApplianceError(
        .refused, "\(problem). \(words(system, outward)) Say which: perseid init --interface NAME.")
    }
    return first
  }

  /// Bridges and pairs of containers and virtual machines.
  private static func isVirtual(_ name: String) -> Bool {
    ["docker", "veth", "virbr", "br-", "cni", "flannel", "podman", "tun", "wg"].contains { name.hasPrefix($0) }
  }

  private static func words(_ system: [SystemInterface], _ outward: Set<String>) -> String {
    let others = system.filter { !$0.isLoopback }.sorted { $0.name < $1.name }
    if others.isEmpty { return "There is none but loopback." }
    let list = others.map { interface in
      let address = interface.address.map { "\($0)/\(interface.prefixLength)" } ?? "no IPv4 address"
      return "\(interface.name) (\(address)\(outward.contains(interface.name) ? ", leads outside" : ""))"
    }
    return "There are: \(list.joined(separator: ", "))."
  }

  /// The interfaces of default routes.
  /// - Parameter routes: As `/proc/net/route` has them.
  package static func outward(_ routes: String) -> Set<String> {
    let names = routes.split(separator: "\n").dropFirst().compactMap { line -> String? in
      let fields = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
      // Destination and mask 0.
      return fields.count > 7 && fields[1] == "00000000" && fields[7] == "00000000" ? String(fields[0]) : nil
    }
    return Set(names)
  }

  /// The file. Every other key has its default, which `perseid.yaml` among the documentation shows.
  package static func text(_ interface: SystemInterface) -> String {
    let address = interface.address ?? .any
    let subnet = IPv4Subnet(containing: address, prefixLength: interface.prefixLength)
    let pool = subnet.flatMap { ServedInterface.defaultPool(of: $0, without: address) }
    return """
      # Written by perseid init. Every key but the interface has a default; all of them are explained in
      # /usr/share/perseid/perseid.yaml.

      network:
        # The nodes' network: \(subnet.map { "\($0)" } ?? "-"), where this appliance is \(address).
        interface: \(interface.name)

      dhcp:
        # authoritative: this appliance gives out the addresses. proxy: another server does. off: no DHCP at all.
        mode: authoritative
      \(pool.map { "  pool: \($0)\n" } ?? "")
      """
  }
}
