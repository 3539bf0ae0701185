"""Tools that every room uses: status codes, arguments, batches and meshes of tasks, small products, optional
packages."""
