from cheap_work import coarse_figures, plain_updates

__all__ = ["coarse_figures", "plain_updates"]
