import ArgumentParser

/// `perseid vnfs ...`, also called `capsule`.
struct VNFSCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vnfs", abstract: "Capsules: what nodes boot into.",
    subcommands: [
      VNFSImport.self, VNFSBuild.self, VNFSExport.self, VNFSList.self, VNFSShow.self, VNFSHistory.self,
      VNFSRollback.self, VNFSDiff.self, VNFSVerify.self, VNFSClone.self, VNFSMount.self, VNFSUmount.self,
      VNFSClose.self, VNFSShell.self, VNFSRebuild.self, VNFSLivesync.self, VNFSDelete.self, VNFSCollect.self,
    ], aliases: ["capsule"])
}
