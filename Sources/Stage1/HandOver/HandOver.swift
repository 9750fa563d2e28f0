import CapsuleFormat
import DHCPClient
import Glibc
import StateClient
import StateProtocol

/// Makes the filled root this node's: its name, its client, and what the client needs to know.
enum HandOver {
  static func run(_ boot: Boot) throws {
    guard let plan = boot.plan, let card = boot.card, let server = boot.server else {
      throw StepFailure(what: "there is no plan to hand over", canRetry: true)
    }
    // The running system goes on with what is known of it here.
    boot.keepLease()
    let root = RootedPath(boot.newRoot)
    try setName(plan.nodeName, in: root)
    if let lease = boot.lease { try Resolver.set(lease, in: root) }
    try NodeClientInstall.install(
      into: root, initProgram: SwitchRoot.program(boot) ?? "/sbin/init", say: boot.say)
    let generation = plan.steps.lazy.compactMap(\.root).first?.generation.description
    let others = boot.servers(first: server).dropFirst().map {
      NodeRecord.Server(address: $0.address, port: $0.port)
    }
    let record = NodeRecord(
      server: server.address, port: server.port, otherServers: others.isEmpty ? nil : others,
      boot: boot.commandLine.boot, nodeName: plan.nodeName,
      hardwareAddresses: NetworkCard.addresses(first: card.hardwareAddress, of: boot.cards),
      interface: boot.interface ?? card.name, clientIdentifier: card.clientIdentifier,
      generation: generation, nextState: plan.nextState ?? "ready", intervalSeconds: plan.intervalSeconds)
    try SmallFile.write(NodeRecord.path, try ProtocolJSON.encode(record))
    if let lease = boot.lease { try SmallFile.write(LeaseRecord.path, try ProtocolJSON.encode(LeaseRecord(lease))) }
  }

  private static func setName(_ name: String, in root: RootedPath) throws {
    guard isHostName(name) else {
      throw StepFailure(what: "the node's name '\(name)' is no host name", canRetry: false)
    }
    try root.replace("/etc/hostname", with: Array("\(name)\n".utf8), mode: 0o644)
    try check("set the host name \(name)") { sethostname(name, name.utf8.count) }
  }

  static func isHostName(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    return !bytes.isEmpty && bytes.count <= 64
      && bytes.allSatisfy { byte in
        (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte)
          || byte == 0x2D || byte == 0x2E || byte == 0x5F
      }
  }
}
