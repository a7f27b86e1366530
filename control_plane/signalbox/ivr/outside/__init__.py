"""What it takes to ask services outside of the cluster that tenants name, without harm to anybody."""
