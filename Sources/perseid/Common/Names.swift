import ArgumentParser
import Provisioner

/// What the shell completes: names the running appliance knows. Where none runs, nothing.
enum Names {
  static let nodes = CompletionKind.custom { _, _, _ in
    await names(["nodes"]) { (nodes: [NodeView]) in nodes.map(\.name) }
  }

  static let groups = CompletionKind.custom { _, _, _ in
    await names(["groups"]) { (groups: [GroupView]) in groups.map(\.name) }
  }

  static let capsules = CompletionKind.custom { _, _, _ in
    await names(["vnfs"]) { (capsules: [CapsuleView]) in capsules.map(\.name) }
  }

  static let tokens = CompletionKind.custom { _, _, _ in
    await names(["tokens"]) { (tokens: [TokenView]) in tokens.map(\.name) }
  }

  static let modules = CompletionKind.custom { _, _, _ in
    await names(["modules"]) { (modules: [ModuleView]) in modules.map(\.name) }
  }

  /// Where modules can be activated.
  static let roles = CompletionKind.custom { _, _, _ in
    let groups = await names(["groups"]) { (groups: [GroupView]) in groups.map { "group/\($0.name)" } }
    let capsules = await names(["vnfs"]) { (capsules: [CapsuleView]) in capsules.map { "vnfs/\($0.name)" } }
    return ["init", "ready"].flatMap { state in (["all"] + groups + capsules).map { "\(state)/\($0)" } }
  }

  private static func names<Value: Decodable & Sendable>(
    _ path: [String], _ name: (Value) -> [String]
  ) async -> [String] {
    guard let configuration = try? CommonOptions.parse([]).configuration() else { return [] }
    let client = ControlSocketClient(path: configuration.paths.controlSocket, silenceSeconds: 2)
    guard let value: Value = try? await Access(connection: client).get(AdminRequest(.get, path)) else { return [] }
    return name(value)
  }
}
