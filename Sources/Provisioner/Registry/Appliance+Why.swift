import CapsuleFormat
import DHCP
import NetworkTypes

extension Appliance {
  /// What a node would get now, and why: from the same functions that answer it.
  package func nodeWhy(_ name: String) throws -> WhyView {
    guard let node = registry.effective(name) else {
      throw ApplianceError(.notFound, "There is no node '\(name)'. perseid node list shows those there are.")
    }
    let generation = registry.read { $0.capsules[node.vnfs]?.currentGeneration }
    let clients: [(String, ClientDescription.Speaker, [UInt16])] = [
      ("BIOS PXE", .pxeFirmware, [0]), ("UEFI x64 PXE", .pxeFirmware, [7]), ("UEFI x64 HTTP", .httpFirmware, [16]),
      ("UEFI IA32 PXE", .pxeFirmware, [6]), ("UEFI ARM64 PXE", .pxeFirmware, [11]),
      ("iPXE on BIOS", .ipxe, [0]), ("iPXE on UEFI x64", .ipxe, [7]),
    ]
    let strategy = node.node.macs.first.flatMap { mac -> FirmwareTrial.Strategy? in
      guard var strategy = ledger.trials.trial(of: mac).current else { return nil }
      if !clientPolicy.maySign(mac, .uefiX64) { strategy.loader = .usual }
      return strategy
    }
    let server = registry.read { $0.lastBoot(of: name) }?.address ?? IPv4Address.any
    let answers = clients.map { client, speaker, architectures in
      // Our own address depends on the network that asks; here it stands for itself.
      let machine = BootPolicy.Machine(
        mac: node.node.macs.first ?? MACAddress(rawValue: 0), speaker: speaker, architectures: architectures,
        server: server, port: configuration.provisioner.port,
        strategy: speaker == .pxeFirmware && architectures == [7] ? strategy : nil)
      let answer = BootPolicy.answer(machine, node: node, vnfs: node.vnfs, generation: generation)
      let file = answer.bootFile?.replacing("http://\(server):", with: "http://APPLIANCE:")
      return WhyView.Answer(client: client, bootFile: file, reason: answer.reason)
    }
    let states = states(with: try generation.map { try catalog.states(of: $0.digest) } ?? [])
    let scripts = try states.flatMap { state in
      let carried = try generation.map { try catalog.nodescripts(of: $0.digest, state: state) } ?? [:]
      return try nodescripts.scripts(
        state: state, vnfs: node.vnfs, groups: node.groups, node: node.name, capsule: carried
      ).map { script in
        WhyView.Script(
          state: state, name: script.name, level: script.level, onAppliance: script.isServer, replaced: script.replaced,
          module: ModuleLinks.module(of: script.path))
      }
    }
    let levels = NodescriptTree.levels(vnfs: node.vnfs, groups: node.groups, node: node.name)
    let files = states.flatMap { state in
      planFiles.files(state: state, of: planFiles.active(state: state, levels: levels)).map { found in
        WhyView.File(
          state: state, path: found.file.path, module: found.module.name, level: found.level, replaced: found.replaced)
      }
    }
    return WhyView(
      name: name, mac: node.node.macs.first, enabled: node.enabled, boot: node.boot, vnfs: node.vnfs,
      generation: generation?.number, digest: generation?.digest.description,
      heard: ledger.trials.heard(of: node.node.macs).map(Self.view), strategy: strategyView(of: node.node.macs),
      answers: answers, scripts: scripts, files: files, settings: settings(of: node, levels))
  }

  /// Every state that there is something for: in the order in which nodes come to them, then by name.
  /// - Parameter carried: Those that the node's capsule has scripts for.
  private func states(with carried: Set<String>) -> [String] {
    var states = ["init"]
    while let last = states.last, let next = configuration.states.next(after: last), !states.contains(next) {
      states.append(next)
    }
    let modules = registry.read { $0.modules.values.flatMap(\.active) }.compactMap { ModuleRole($0)?.state }
    let others = Set(configuration.states.named.keys).union(nodescripts.states).union(modules).union(carried)
    return states + others.subtracting(states).sorted()
  }

  private static func view(_ heard: FirmwareTrials.Heard) -> WhyView.Heard {
    let exchange = heard.exchange
    let client = exchange.client
    var asked = exchange.received
    if let vendorClass = client.vendorClass { asked += ", vendor class \(vendorClass)" }
    if !client.architectures.isEmpty {
      asked += ", architecture \(client.architectures.map(String.init).joined(separator: ", "))"
    }
    if let relay = client.relay { asked += ", by relay \(relay)" }
    var answered = exchange.sent ?? "nothing"
    if let address = exchange.address { answered += " \(address)" }
    if let file = exchange.bootFile { answered += ", \(ExchangeWords.file(file, client.speaker))" }
    let reasons = [exchange.reason, exchange.boot?.reason ?? ""].filter { !$0.isEmpty }
    return WhyView.Heard(
      at: heard.at, client: ExchangeWords.speaker(client), asked: asked, answered: answered,
      reason: reasons.joined(separator: "; "),
      rules: exchange.quirks.compactMap { BootQuirk.named($0) }.map {
        WhyView.Heard.Rule(name: $0.name, words: $0.words, source: $0.source)
      })
  }

  private func strategyView(of macs: [MACAddress]) -> WhyView.Strategy? {
    let trials = macs.map { ledger.trials.trial(of: $0) }
    guard let trial = trials.first(where: { $0.current != nil }), let strategy = trial.current else { return nil }
    return WhyView.Strategy(
      delivery: strategy.delivery.rawValue, loader: strategy.loader.rawValue, isProven: strategy == trial.proven,
      words: strategy.words)
  }

  private func settings(of node: EffectiveNode, _ levels: [String]) -> [WhyView.Setting] {
    let groups = registry.read { view in node.groups.map { ($0, view.groups[$0]?.settings) } }
    let values = [
      ("group", node.groups.joined(separator: ",")), ("vnfs", node.vnfs), ("enabled", "\(node.enabled)"),
      ("boot", node.boot.rawValue),
      ("root", rootMode(of: node).rawValue), ("kernelArgs", node.kernelArgs), ("debug", "\(node.debug)"),
    ]
    let variables = node.vars.sorted { $0.key < $1.key }.map { ("var.\($0.key)", $0.value) }
    let own = (values + variables).map { key, value in
      let isOwn = NodeKeys.text(key, of: node.node) != nil
      let group = groups.first { $0.1.map { NodeKeys.text(key, of: $0) != nil } ?? false }?.0
      let fallback = key == "root" && capsuleFiles(of: node)?.config.rootModes != nil ? "capsule \(node.vnfs)" : nil
      return WhyView.Setting(
        key: key, value: value, from: isOwn ? "node" : group.map { "group \($0)" } ?? fallback ?? "defaults")
    }
    // What modules that are active for it, in whatever state, say where nobody else does.
    let modules = registry.read { view in
      view.modules.values.filter { record in
        record.active.contains { ModuleRole($0).map { levels.contains($0.level) } ?? false }
      }.map(\.name).sorted()
    }
    let defaults = modules.compactMap(moduleStore.module).flatMap { module in
      module.manifest.variables.filter { node.vars[$0.name] == nil }.compactMap { variable in
        variable.value.map {
          WhyView.Setting(key: "var.\(variable.name)", value: $0, from: "module \(module.name)")
        }
      }
    }
    return own + Set(defaults).sorted { ($0.key, $0.from) < ($1.key, $1.from) }
  }
}
